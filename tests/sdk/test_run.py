"""`qcc run -- python script.py`, or `node script.mjs`: scripts that know nothing of qcc, with the
defaults of the SDKs."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import support

ANTHROPIC = """
import anthropic
message = anthropic.Anthropic().messages.create(
    model="claude-x", max_tokens=64, messages=[{"role": "user", "content": "hi"}])
print("answer:", message.content[0].text)
"""

OPENAI = """
import openai
answer = openai.OpenAI().chat.completions.create(
    model="gpt-x", messages=[{"role": "user", "content": "hi"}])
print("answer:", answer.choices[0].message.content)
"""

NODE_ANTHROPIC = """
import Anthropic from "@anthropic-ai/sdk";
const message = await new Anthropic().messages.create({
  model: "claude-x", max_tokens: 64, messages: [{ role: "user", content: "hi" }] });
console.log("answer:", message.content[0].text);
"""

NODE_OPENAI = """
import OpenAI from "openai";
const answer = await new OpenAI().chat.completions.create({
  model: "gpt-x", messages: [{ role: "user", content: "hi" }] });
console.log("answer:", answer.choices[0].message.content);
"""

PYTHON = (sys.executable, "script.py")
NODE = (support.NODE, "script.mjs")


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.simulator = support.Simulator({"broken": "status:503", "fine": "ok"})

    @classmethod
    def tearDownClass(cls):
        cls.simulator.close()

    def run_script(self, kind, script, how=PYTHON):
        program, name = how
        with tempfile.TemporaryDirectory() as home:
            home = pathlib.Path(home)
            endpoints = [
                {
                    "name": name,
                    "base_url": self.simulator.url(name),
                    "api_key": f"sk-test-run-{name}",
                    "priority": priority,
                }
                for priority, name in enumerate(["broken", "fine"], start=1)
            ]
            config = {"clusters": {"c": {"kind": kind, "endpoints": endpoints}}}
            (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
            (home / name).write_text(script, encoding="utf-8")
            # Node looks for packages beside the script.
            (home / "node_modules").symlink_to(support.NODE_SDKS / "node_modules")
            return subprocess.run(
                [
                    str(support.BINARY),
                    f"--config={home / 'config.yaml'}",
                    "run",
                    "--",
                    program,
                    str(home / name),
                ],
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

    def succeeds(self, kind, script, how=PYTHON):
        ended = self.run_script(kind, script, how)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertRegex(ended.stdout, r"answer: .+")

    # SIM-04
    def test_a_script_over_the_sdk_of_anthropic_needs_nothing_else(self):
        self.succeeds("anthropic", ANTHROPIC)

    # SIM-04
    def test_a_script_over_the_sdk_of_openai_needs_nothing_else(self):
        self.succeeds("openai", OPENAI)

    # SIM-04
    @unittest.skipUnless(support.NODE, support.NO_NODE)
    def test_a_script_over_the_sdks_for_node_needs_nothing_else(self):
        self.succeeds("anthropic", NODE_ANTHROPIC, NODE)
        self.succeeds("openai", NODE_OPENAI, NODE)

    # SIM-04
    def test_a_script_that_fails_gives_its_exit_code(self):
        self.assertEqual(self.run_script("openai", "raise SystemExit(3)").returncode, 3)

    # SIM-04
    @unittest.skipUnless(support.NODE, support.NO_NODE)
    def test_a_script_for_node_that_fails_gives_its_exit_code(self):
        self.assertEqual(self.run_script("openai", "process.exit(3)", NODE).returncode, 3)


if __name__ == "__main__":
    unittest.main()
