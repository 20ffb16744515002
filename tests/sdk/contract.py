"""What a client of the proxy may rely on, whatever its SDK: the tests of each SDK run all of it."""

import support

# Until an answer has begun, each of these is invisible to the client.
FAULTS = {
    "refuse": "refuse",
    "reset": "reset",
    "hang": "hang",
    "status-401": "status:401",
    "status-402": "status:402",
    "status-403": "status:403",
    "status-404": "status:404",
    "status-429": "status:429;retry-after=7",
    "status-500": "status:500",
    "status-502": "status:502",
    "status-503": "status:503",
    "status-529": "status:529",
    "error-as-success": "status:200",
    "foreign-error-as-success": "status:200;shape=bare",
    "html": "html",
    "empty": "empty",
    "truncated": "truncated",
    "garbage": "garbage",
    "error-first": "error:0",
    "error-before-output": "error:1",
    "cut-at-once": "cut:0",
    "cut-before-output": "cut:1",
    "stall-before-output": "stall:1",
}

# One that calls the request invalid is not to blame until others disagree often.
BLAMELESS = {"foreign-error-as-success"}

# A rejection of the request itself.
REJECTION = "the simulated model takes no such thing"
REJECTED = f"status:400;message={REJECTION}"

# The clusters that are no fault of FAULTS in front of a good endpoint.
CLUSTERS = {
    "whole": ["good"],
    "gzip": ["gzip"],
    "gzip-unannounced": ["gzip-unannounced"],
    "cut-whole": ["cut"],
    "cut-first": ["cut", "good"],
    "refused": ["refused-a", "refused-b", "refused-c"],
    "rejected": ["rejected-a", "rejected-b"],
    "limited": ["limited-a", "limited-b"],
}
BEHAVIOURS = {
    "good": "ok",
    "gzip": "gzip",
    "gzip-unannounced": "gzip:unannounced",
    "cut": "cut:10",
    "refused-a": "status:401",
    "refused-b": "status:401",
    "refused-c": "status:401",
    "rejected-a": REJECTED,
    "rejected-b": REJECTED,
    "limited-a": "status:429;retry-after=17",
    "limited-b": "status:429;retry-after=29",
}


class Contract:
    """Mixed into a TestCase. The SDK is met in the methods that raise NotImplementedError."""

    kind = None

    # Streamed, these come after the first output: half of an answer is more than that.
    after_output = {"truncated"}

    def client(self, base_url, cluster=None):
        """A client of the SDK without retries of its own."""
        raise NotImplementedError

    def ask(self, client):
        """The text of an answer that is not streamed."""
        raise NotImplementedError

    def stream(self, client):
        """Yields the texts of a streamed answer, event by event."""
        raise NotImplementedError

    def helper(self, client):
        """The same through the SDK's helper, to the final answer."""
        raise NotImplementedError

    def assert_interruption(self, error):
        raise NotImplementedError

    def assert_upstream_auth_failed(self, error):
        raise NotImplementedError

    def assert_rejection(self, error):
        raise NotImplementedError

    def assert_rate_limit(self, error):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        behaviours = {**BEHAVIOURS, **FAULTS}
        clusters = {**CLUSTERS, **{name: [name, "good"] for name in FAULTS}}
        # Streamed and not, each fault meets an endpoint that has not failed before.
        clusters.update({f"{name}-streamed": [name, "good"] for name in FAULTS})
        cls.simulator = support.Simulator(behaviours)
        cls.addClassCleanup(cls.simulator.close)
        cls.proxy = support.Proxy(cls.kind, cls.simulator, clusters)
        cls.addClassCleanup(cls.proxy.close)

    def of(self, cluster):
        client = self.client(self.proxy.url(), cluster)
        self.addCleanup(client.close)
        return client

    def text_of(self, endpoint):
        return f"Hello, this is the simulated endpoint {endpoint}."

    def test_normal_calls_succeed(self):
        client = self.of("whole")
        self.assertEqual(self.ask(client), self.text_of("good"))
        for streamed in (self.stream, self.helper):
            texts = list(streamed(client))
            self.assertEqual("".join(texts), self.text_of("good"))
            self.assertEqual(len(texts), support.DELTAS)

    # UPS-14, UPS-17
    def test_a_compressed_answer_reads_like_any_other(self):
        for endpoint in ("gzip", "gzip-unannounced"):
            with self.subTest(endpoint):
                client = self.of(endpoint)
                self.assertEqual(self.ask(client), self.text_of(endpoint))
                texts = list(self.stream(client))
                self.assertEqual("".join(texts), self.text_of(endpoint))
                self.assertEqual(len(texts), support.DELTAS)

    # STR-03
    def test_faults_before_the_commit_point_are_invisible(self):
        for fault in FAULTS:
            failed = 0 if fault in BLAMELESS else 1
            with self.subTest(fault):
                self.assertEqual(self.ask(self.of(fault)), self.text_of("good"))
                state = self.proxy.idle_endpoint(fault, fault)
                self.assertEqual((state["failed"], state["current_load"]), (failed, 0))
            if fault in self.after_output:
                continue
            with self.subTest(fault, streamed=True):
                cluster = f"{fault}-streamed"
                texts = list(self.stream(self.of(cluster)))
                self.assertEqual("".join(texts), self.text_of("good"))
                state = self.proxy.idle_endpoint(cluster, fault)
                self.assertEqual((state["failed"], state["current_load"]), (failed, 0))

    # STR-04, BRK-12
    def test_a_cut_stream_raises_and_the_third_opens_the_breaker(self):
        whole = self.text_of("cut")
        client = self.of("cut-whole")
        for cut, streamed in enumerate((self.stream, self.helper, self.stream), start=1):
            texts = []
            with self.assertRaises(Exception) as raised:
                for text in streamed(client):
                    texts.append(text)
            self.assert_interruption(raised.exception)
            text = "".join(texts)
            self.assertTrue(whole.startswith(text) and text != whole, text)
            self.assertGreater(len(texts), 1)
            state = self.proxy.idle_endpoint("cut-whole", "cut")
            self.assertEqual(state["current_load"], 0)
            self.assertEqual(state["failed"], cut)
            self.assertEqual(state["breaker"]["failures"], cut)
            self.assertEqual(state["breaker"]["state"], "open" if cut == 3 else "closed")

    def test_an_open_breaker_sends_the_next_stream_elsewhere(self):
        client = self.of("cut-first")
        for _ in range(3):
            with self.assertRaises(Exception) as raised:
                list(self.stream(client))
            self.assert_interruption(raised.exception)
            self.proxy.idle_endpoint("cut-first", "cut")
        self.assertEqual("".join(self.stream(client)), self.text_of("good"))
        self.assertEqual(self.proxy.endpoint("cut-first", "cut")["total"], 3)

    # RTY-12
    def test_refused_credentials_are_a_502_of_the_proxy(self):
        client = self.of("refused")
        with self.assertRaises(Exception) as raised:
            self.ask(client)
        self.assert_upstream_auth_failed(raised.exception)
        with self.assertRaises(Exception):
            list(self.stream(client))
        for endpoint in CLUSTERS["refused"]:
            state = self.proxy.idle_endpoint("refused", endpoint)
            self.assertEqual((state["total"], state["failed"]), (1, 1))
            self.assertEqual((state["enabled"], state["auth_failed"]), (False, True))
            self.assertEqual(state["breaker"]["failures"], 0)

    # CLS-08
    def test_the_clients_own_mistake_is_told_and_blames_nobody(self):
        client = self.of("rejected")
        for _ in range(3):
            for asked in (self.ask, lambda client: list(self.stream(client))):
                with self.assertRaises(Exception) as raised:
                    asked(client)
                self.assert_rejection(raised.exception)
        for endpoint in CLUSTERS["rejected"]:
            state = self.proxy.idle_endpoint("rejected", endpoint)
            self.assertEqual((state["enabled"], state["auth_failed"]), (True, False))
            self.assertEqual(state["breaker"]["failures"], 0)
            self.assertIsNone(state["out"])

    # RTY-13
    def test_limits_everywhere_are_a_rate_limit_with_the_earliest_reset(self):
        client = self.of("limited")
        with self.assertRaises(Exception) as raised:
            self.ask(client)
        self.assert_rate_limit(raised.exception)
        wait = int(raised.exception.response.headers["retry-after"])
        self.assertTrue(1 <= wait <= 17, wait)
