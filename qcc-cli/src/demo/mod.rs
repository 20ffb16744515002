//! The demo: simulated endpoints that fail one after the other, the real proxy in front of them,
//! and clients that notice nothing.
//!
//! [`cast`] says who takes part and what goes wrong. [`stage`] starts the simulator and the proxy
//! on sockets, as `qcc serve` does; [`traffic`] sends requests through the proxy and checks every
//! answer to its last word. What is counted comes from both sides: from the clients, what they
//! got; from the records of the requests, what it took.
//!
//! Scenes follow each other by what has happened and not by the clock alone, so a slow machine
//! sees the same.

mod cast;
mod client;
mod report;
mod stage;
mod tally;
mod traffic;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use qcc_core::breaker::Phase;
use qcc_core::facts::Dialect;
use qcc_core::failover::EndpointStatus;
use qcc_core::simulate::Behaviour;
use qcc_core::time::{self, Duration, Instant};

use self::cast::{CAST, SCENES, Scene, Until};
use self::client::Ask;
use self::report::{AfterCommit, Listening, Report};
use self::stage::{ATTEMPTS, Stage};
use self::tally::Seen;
use self::traffic::{CLIENTS, Traffic};
use self::view::{Change, View};
use crate::output::{DIM, Exit, Failure, Output, STRONG, styled};
use crate::shutdown::{Phase as Stopping, Phases};

/// How often is looked at what happens.
const TICK: Duration = Duration::from_millis(40);

/// A scene that waits for something goes on after this time.
const LONGEST_SCENE: Duration = Duration::from_secs(3);

/// After this time no scene waits for anything: the whole has to end within 30 s.
const WAITING_ENDS: Duration = Duration::from_secs(18);

/// How a demo runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Keep everything up afterwards.
    pub(crate) serve: bool,
    /// What clients ask for repeats with this number. What happens at which moment does not.
    pub(crate) seed: u64,
    /// The shortest time of a scene.
    pub(crate) scene: Duration,
    /// The longest pause of a client between an answer and its next request.
    pub(crate) pause: Duration,
    /// A breaker opens for so long the first time, in place of 60 s: a demo is short.
    pub(crate) open_for: Duration,
}

impl Options {
    /// About ten seconds.
    pub(crate) const fn new(serve: bool, seed: u64) -> Self {
        Self {
            serve,
            seed,
            scene: Duration::from_millis(700),
            pause: Duration::from_millis(160),
            open_for: Duration::from_millis(500),
        }
    }
}

/// Runs the demo, until `phases` says to stop or everything was shown.
///
/// # Errors
///
/// A client was let down, the demo was interrupted, or it could not start.
pub(crate) async fn run(
    options: Options,
    output: Output,
    phases: &Phases,
) -> Result<Exit, Failure> {
    let mut view = if output.is_json() {
        View::hidden()
    } else {
        View::stdout()
    };
    let stage = Stage::open(options.serve, options.open_for, phases.clone()).await?;
    let mut stopping = phases.clone();
    let mut report = tokio::select! {
        biased;
        () = stopping.reached(Stopping::Draining) => {
            view.clear();
            return Err(Failure::new(Exit::Failure, "interrupted"));
        }
        report = play(&options, &stage, &mut view) => report?,
    };
    if options.serve {
        report.listening = Some(Listening {
            proxy: stage.proxy,
            admin: stage.admin,
            simulator: stage.simulator,
        });
    }
    output.show(&report, |stream| {
        report.write(stream)?;
        let next = if options.serve {
            invitation(&stage, &report)
        } else {
            suggestion()
        };
        write!(stream, "{next}")
    })?;
    if !report.ok {
        return Err(Failure::new(
            Exit::Failure,
            "a client was let down: see above",
        ));
    }
    if options.serve {
        stage.ended().await;
    }
    Ok(Exit::Success)
}

/// Plays all scenes.
async fn play(options: &Options, stage: &Stage, view: &mut View) -> Result<Report, Failure> {
    let started = time::now();
    view.print(&prologue(stage, options));
    let no_client = |error: reqwest::Error| Failure::new(Exit::Failure, error.to_string());
    let traffic = Traffic::start(stage.proxy, options.seed, options.pause).map_err(no_client)?;
    let mut director = Director {
        options,
        stage,
        view,
        traffic: &traffic,
        started,
        before: stage.status(),
        rested: BTreeSet::new(),
    };
    for scene in &SCENES {
        director.play(scene).await;
    }
    let served = traffic.stop().await;
    // A record is closed with the last byte of its answer, which the client may have read before.
    while stage.audience.house().tally.requests < served.requests
        && time::now() - started < WAITING_ENDS
    {
        tokio::time::sleep(TICK).await;
    }
    let tally = stage.audience.close();
    let status = stage.status();
    let time = time::now() - started;
    view.clear();
    let after_commit = cut_after_commit(stage).await.map_err(no_client)?;
    Ok(Report::new(time, &tally, served, &status, after_commit))
}

/// One request to endpoints that all cut streams after their first words.
async fn cut_after_commit(stage: &Stage) -> Result<AfterCommit, reqwest::Error> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    stage.change_all(&Behaviour::Cut(6));
    let ask = Ask {
        dialect: Dialect::Anthropic,
        stream: true,
    };
    let heard = traffic::send(&http, stage.proxy, ask, None).await;
    for role in &CAST {
        stage.change(role.name, None);
    }
    Ok(AfterCommit::of(heard))
}

/// Leads through the scenes.
struct Director<'d> {
    options: &'d Options,
    stage: &'d Stage,
    view: &'d mut View,
    traffic: &'d Traffic,
    started: Instant,
    before: Vec<EndpointStatus>,
    /// Who was seen to rest.
    rested: BTreeSet<Arc<str>>,
}

impl Director<'_> {
    async fn play(&mut self, scene: &'static Scene) {
        let spares_streams = scene
            .changes
            .iter()
            .any(|(_, fault)| fault.is_some_and(|fault| fault.spares_streams()));
        if spares_streams {
            self.traffic.allow_streams(false);
            while self.traffic.has_streams() {
                self.tick(&mut Untold::none()).await;
            }
        }
        let began = time::now();
        self.view.scene(began - self.started, scene.title);
        let answered = match scene.until {
            Until::Answered(name) => self.stage.audience.house().tally.answered(name),
            _ => 0,
        };
        for (name, fault) in scene.changes {
            self.stage.change(name, *fault);
        }
        if !spares_streams {
            self.traffic.allow_streams(true);
        }
        let mut untold = Untold::of(scene);
        loop {
            self.tick(&mut untold).await;
            let now = time::now();
            let is_over = now - began >= self.options.scene && self.is_done(scene, answered);
            let is_late = now - began >= LONGEST_SCENE || now - self.started >= WAITING_ENDS;
            if is_over || is_late {
                return;
            }
        }
    }

    /// Shows what has happened since the last look.
    async fn tick(&mut self, untold: &mut Untold) {
        tokio::time::sleep(TICK).await;
        let (saved, tally) = {
            let mut house = self.stage.audience.house();
            (std::mem::take(&mut house.saved), house.tally.clone())
        };
        for seen in &saved {
            if untold.tells(seen)
                && let Some(story) = view::story(seen)
            {
                self.view.follows(&story);
            }
        }
        let status = self.stage.status();
        for (before, after) in self.before.iter().zip(&status) {
            let Some(change) = Change::between(before, after) else {
                continue;
            };
            // An endpoint that is limited rests again and again.
            let name = after.endpoint.name();
            if change != Change::Cooling || self.rested.insert(name.clone()) {
                self.view.follows(&change.describe(after));
            }
        }
        self.view.draw(&tally, &status);
        self.before = status;
    }

    /// Whether what the scene waits for has happened.
    fn is_done(&self, scene: &Scene, answered: u64) -> bool {
        let house = self.stage.audience.house();
        match scene.until {
            Until::Time => true,
            Until::Met => scene
                .changes
                .iter()
                .all(|(name, fault)| fault.is_none_or(|fault| house.tally.has_met(name, fault))),
            Until::Answered(name) => house.tally.answered(name) > answered,
            Until::Closed => self.before.iter().all(|status| {
                status.auth_failed
                    || (status.out.is_none() && status.breaker.state == Phase::Closed)
            }),
        }
    }
}

/// The faults of a scene of which nobody was told yet.
struct Untold(Vec<(&'static str, cast::Fault)>);

impl Untold {
    const fn none() -> Self {
        Self(Vec::new())
    }

    fn of(scene: &Scene) -> Self {
        let faults = scene.changes.iter();
        Self(
            faults
                .filter_map(|(name, fault)| Some((*name, (*fault)?)))
                .collect(),
        )
    }

    /// Whether `seen` met one of them, which then counts as told.
    fn tells(&mut self, seen: &Seen) -> bool {
        let untold = self.0.len();
        self.0.retain(|(name, fault)| {
            !seen
                .sends
                .iter()
                .any(|sent| sent.endpoint == *name && sent.fault == Some(*fault))
        });
        self.0.len() < untold
    }
}

fn prologue(stage: &Stage, options: &Options) -> String {
    let mut text = format!(
        "\n{}\n\n",
        styled(
            STRONG,
            "qcc demo: six endpoints behind one address, and everything goes wrong"
        )
    );
    for role in &CAST {
        let name = styled(STRONG, format_args!("{:<9}", role.name));
        let tier = styled(DIM, format_args!("priority {}", role.priority));
        text.push_str(&format!("  {name} {tier}  {}\n", role.story));
    }
    let note = format!(
        "{CLIENTS} clients talk Anthropic, Chat, Responses and Gemini to the proxy at http://{}.\n\
         So that it fits into seconds, breakers open for {:.1} s (by default 60 s), and a request may\n\
         be tried {ATTEMPTS} times (5 times), because it meets endpoints on trial that often.\n",
        stage.proxy,
        options.open_for.as_secs_f64(),
    );
    text.push_str(&format!("\n{}", styled(DIM, note)));
    text
}

/// What to do next, when everything is gone.
fn suggestion() -> String {
    let [serve, status, explain] = [
        "qcc demo --serve",
        "qcc cluster status",
        "qcc explain --last",
    ]
    .map(|command| styled(STRONG, command));
    format!("\nplay with it: {serve}, and beside it {status} and {explain}\n")
}

/// What to do next, while everything is up.
fn invitation(stage: &Stage, report: &Report) -> String {
    let Stage {
        proxy,
        admin,
        simulator,
        ..
    } = stage;
    let at = if *admin == crate::config::ADMIN_LISTEN {
        String::new()
    } else {
        format!(" --admin http://{admin}")
    };
    let hardest = report.hardest.as_deref().unwrap_or("--last");
    let head = styled(
        STRONG,
        "It stays up until you press Ctrl-C. Ask it something:",
    );
    format!(
        "\n{head}\n  \
         curl -i http://{proxy}/v1/chat/completions -d '{{\"model\":\"any\",\"messages\":[]}}'\n\
         point a client at it:\n  \
         export ANTHROPIC_BASE_URL=http://{proxy} ANTHROPIC_API_KEY=any\n  \
         export OPENAI_BASE_URL=http://{proxy}/v1 OPENAI_API_KEY=any\n  \
         export GOOGLE_GEMINI_BASE_URL=http://{proxy} GEMINI_API_KEY=any\n\
         break an endpoint, and see what becomes of it:\n  \
         curl -d status:503 http://{simulator}/_simulate/aurora\n  \
         qcc cluster status{at}\n  \
         qcc endpoint enable birch{at}\n  \
         qcc explain {hardest}{at}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // SIM-03
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_client_is_served_while_at_least_six_kinds_of_fault_occur() {
        let options = Options {
            serve: false,
            seed: 1,
            scene: Duration::from_millis(50),
            pause: Duration::from_millis(30),
            open_for: Duration::from_millis(80),
        };
        let (phase, phases) = Phases::new();
        let stage = Stage::open(false, options.open_for, phases).await.unwrap();
        let report = play(&options, &stage, &mut View::hidden()).await.unwrap();
        assert_eq!(report.requests.failures, [""; 0]);
        assert_eq!(report.requests.succeeded, report.requests.total);
        assert!(report.requests.total >= 60, "{report:?}");
        assert!(report.faults.len() >= 6, "{report:?}");
        assert!(report.after_commit.told && report.ok, "{report:?}");

        phase.send(Stopping::Draining).unwrap();
        stage.ended().await;
    }
}
