//! How a simulated broker comes into the cluster and goes, and what its replicas ask the controller.
//!
//! Owns what the production broker does around its start and its questions (`broker/src/controller.rs`, `questions.rs`):
//! registered, recorded on its own disk, admitted; admitted again when it was taken for dead; asked until it may stop. A
//! question whose answer is lost is asked again by whoever wants to know. It decides nothing.

use ottla_core::controller::error::{AlterPartitionError, RegisterError};
use ottla_core::controller::{Answer, FeatureRange, Halt, IsrChange, Leadership, Registered, Registration, Request};
use ottla_core::replica::{Alter, Altered, Ask, Complaint, Event, Host, LogView, Replica};
use ottla_core::types::{BrokerId, Incarnation};

use crate::control::Asker;
use crate::mutants::ShellRule;
use crate::node::{partition_id, settings};
use crate::store::CLUSTER;
use crate::streams::Up;
use crate::world::{Action, Beside, Local, World};

/// How soon whoever is asked in vain is asked again. Microseconds.
const ASK_AGAIN_US: u64 = 100_000;
/// How long a broker that wants to stop waits for others to take over. Microseconds.
const STOP_US: u64 = 3_000_000;

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is no run yet.
    Registering,
    /// Its run is recorded on its disk.
    Recorded(Incarnation),
    /// It is let in.
    Admitted(Incarnation),
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Register,
    Admit(Incarnation),
    Alter {
        partition: usize,
        alter: Alter,
    },
    Stop,
    /// Another min.insync.replicas.
    Minimum,
    /// A second process of that broker, of which the first one lives.
    Twin {
        of: usize,
        lives: bool,
    },
    /// Whatever comes of it comes as metadata, or is asked again.
    Nobody,
}

impl World {
    /// Asks whoever decides, as far as is known: here, or at the other end of the stream.
    pub(crate) fn ask_controller(&mut self, b: usize, question: Question, request: Request) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if control.leads() {
            return self.ask_here(b, Asker::Own(question), request);
        }
        let Some(uplink) = control.uplink.as_mut() else { return self.on_answer(b, question, None) };
        uplink.questions += 1;
        let (id, stream) = (uplink.questions, uplink.stream);
        uplink.waiting.insert(id, question);
        self.up(stream, Up::Ask { id, request });
    }

    /// What came of a question; nothing, if nobody decides or the answer was lost.
    pub(crate) fn on_answer(&mut self, b: usize, question: Question, answer: Option<Answer>) {
        match (question, answer) {
            (Question::Register, answer) => self.on_registered(b, answer),
            (Question::Admit(run), answer) => self.on_admitted(b, run, answer),
            (Question::Alter { partition, alter }, Some(Answer::AlterPartitions(Ok(mut answers)))) => {
                if let Some(answer) = answers.pop() {
                    self.on_altered(b, partition, &alter, answer.map(drop));
                }
            }
            (Question::Stop, Some(Answer::PrepareStop(Ok(state)))) if state.leads == 0 => self.stops(b),
            (Question::Minimum, answer) => self.minimum_changed(answer.as_ref()),
            (Question::Twin { of, lives }, answer) => self.twin_answered(of, lives, answer.as_ref()),
            (Question::Alter { .. } | Question::Stop | Question::Nobody, _) => {}
        }
    }

    // --- coming in ------------------------------------------------------------------------------------------------

    /// Time to register, or to ask to be let in, if nothing is under way.
    pub(crate) fn enroll(&mut self, b: usize) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        if !std::mem::replace(&mut control.entering, true) {
            match control.entry {
                Entry::Registering => {
                    let registration = self.registration(b);
                    self.ask_controller(b, Question::Register, Request::Register(registration));
                }
                Entry::Recorded(run) => self.ask_in(b, run),
                Entry::Admitted(_) => {
                    control.entering = false;
                    self.attend(b);
                }
            }
        }
        if self.alive(b, life) {
            self.plan(ASK_AGAIN_US, Action::Local { node: b, life, what: Local::Enroll });
        }
    }

    fn ask_in(&mut self, b: usize, incarnation: Incarnation) {
        let broker = self.nodes[b].id;
        self.ask_controller(b, Question::Admit(incarnation), Request::Admit { broker, incarnation, endpoints: None });
    }

    pub(crate) fn registration(&self, b: usize) -> Registration {
        let node = &self.nodes[b];
        let told = self.holds(ShellRule::SuspectsAreTold);
        let suspect = (0..node.disk.logs.len()).filter(|&p| told && node.disk.logs[p].suspect).map(partition_id);
        Registration {
            broker: node.id,
            cluster: CLUSTER,
            standing: self.standing(b),
            rack: None,
            endpoints: std::collections::BTreeMap::new(),
            features: FeatureRange::SUPPORTED,
            unclean_stop: false,
            unflushed: Vec::new(),
            suspect: suspect.collect(),
        }
    }

    fn on_registered(&mut self, b: usize, answer: Option<Answer>) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.entering = false;
        if control.entry != Entry::Registering {
            return;
        }
        match answer {
            Some(Answer::Register(Ok(Registered { incarnation, trusted }))) => {
                if self.dies_now(b) {
                    return;
                }
                self.record_run(b, incarnation, trusted);
            }
            Some(Answer::Register(Err(RegisterError::Alive { .. }))) => self.count("refused: its id lives"),
            Some(Answer::Register(Err(RegisterError::NotController(_)))) | None => {}
            Some(other) => self.gives_up(b, &format!("{other:?}")),
        }
    }

    /// It is that run now: written down first.
    fn record_run(&mut self, b: usize, run: Incarnation, trusted: bool) {
        let node = &mut self.nodes[b];
        node.disk.run = run;
        node.host = Host::new(node.id, run, settings(), node.host.rules, node.clock.at(self.now));
        self.story.tell(self.now, format_args!("broker {} is run {run}, trusted: {trusted}", b + 1));
        if !trusted {
            self.count("disk not trusted");
        }
        if let Some(control) = self.nodes[b].control.as_mut() {
            control.entry = Entry::Recorded(run);
            control.entering = true;
            self.ask_in(b, run);
        }
    }

    fn on_admitted(&mut self, b: usize, run: Incarnation, answer: Option<Answer>) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.entering = false;
        match (answer, control.entry) {
            (Some(Answer::Admit(Ok(()))), Entry::Recorded(_)) => {
                control.entry = Entry::Admitted(run);
                self.begin_run(b, run);
                self.apply(b);
            }
            (Some(Answer::Admit(Ok(()))), _) => self.count("admitted again"),
            (Some(Answer::Admit(Err(RegisterError::NotController(_)))) | None, _) => {}
            (Some(other), Entry::Recorded(_)) => self.gives_up(b, &format!("{other:?}")),
            (Some(_), _) => {}
        }
    }

    /// It takes up what its disk holds.
    fn begin_run(&mut self, b: usize, run: Incarnation) {
        let node = &mut self.nodes[b];
        node.registered = true;
        node.disk.served = run;
        let replica = |p: usize| {
            let log = &node.disk.logs[p];
            Replica::new(partition_id(p), log.synced(), node.disk.watermarks[p].max(log.log_start()))
        };
        node.replicas = (0..node.disk.logs.len()).map(replica).collect();
        self.story.tell(self.now, format_args!("broker {} is let in as run {run}", b + 1));
    }

    /// A start that was refused ends the process; whoever looks after it starts another one.
    fn gives_up(&mut self, b: usize, why: &str) {
        self.count("start refused");
        self.kill_node(b, why);
        self.plan(200_000, Action::Start(b));
    }

    /// A broker that was taken for dead says that it is here. One in whose place another run is registered does not notice,
    /// and nobody hears it any more: somebody restarts it.
    pub(crate) fn attend(&mut self, b: usize) {
        let me = self.nodes[b].id;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Entry::Admitted(run) = control.entry else { return };
        let known = control.follower.image().broker(me);
        if known.is_some_and(|broker| broker.incarnation > run) {
            return self.gives_up(b, "another run is registered");
        }
        let fenced = known.is_some_and(|broker| broker.fenced && broker.incarnation == run);
        if fenced && !std::mem::replace(&mut control.entering, true) {
            self.ask_in(b, run);
        }
    }

    // --- going ----------------------------------------------------------------------------------------------------

    /// It wants to stop, and asks until it may.
    pub(crate) fn drain(&mut self, b: usize) {
        let life = self.nodes[b].life;
        let at = self.nodes[b].instant(self.now);
        self.nodes[b].host.on_stopping(at);
        if let Some(control) = self.nodes[b].control.as_mut() {
            control.draining = true;
            self.plan(1, Action::Local { node: b, life, what: Local::Stop { until: self.now + STOP_US } });
        }
    }

    pub(crate) fn ask_to_stop(&mut self, b: usize, until: u64) {
        let life = self.nodes[b].life;
        let Some(incarnation) = self.nodes[b].control.as_ref().and_then(|control| control.own_run()) else { return };
        if self.now >= until {
            return self.stops(b);
        }
        let broker = self.nodes[b].id;
        self.ask_controller(b, Question::Stop, Request::PrepareStop { broker, incarnation });
        if self.alive(b, life) {
            self.plan(ASK_AGAIN_US, Action::Local { node: b, life, what: Local::Stop { until } });
        }
    }

    fn stops(&mut self, b: usize) {
        let Some(control) = self.nodes[b].control.as_ref() else { return };
        if let (Some(run), Some(uplink)) = (control.own_run(), &control.uplink) {
            self.up(uplink.stream, Up::Leaving { run });
            self.count("planned stop");
        }
        self.kill_node(b, "its planned stop");
        let delay = self.rng.within(100_000, 800_000);
        self.plan(delay, Action::Start(b));
    }

    /// The controller stopped for good: something went back, or is gone.
    pub(crate) fn halted(&mut self, b: usize, why: &Halt) {
        self.story.tell(self.now, format_args!("the controller of broker {} stops: {why}", b + 1));
        self.count("controller halted");
        if self.store.went_back() {
            return;
        }
        self.fail("A7", format!("the controller of broker {} stops although nothing went back: {why}", b + 1));
    }

    // --- what replicas ask ----------------------------------------------------------------------------------------

    /// A replica's question goes out.
    pub(crate) fn question(&mut self, b: usize, p: usize, ask: Ask) {
        let (broker, incarnation) = (self.nodes[b].id, self.nodes[b].disk.run);
        let partition = partition_id(p);
        let (question, request) = match ask {
            Ask::Alter(alter) => {
                let changes = vec![self.isr_change(b, p, &alter)];
                (Question::Alter { partition: p, alter }, Request::AlterPartitions { broker, incarnation, changes })
            }
            Ask::NewEpoch { leader_epoch, complaint } => {
                let leaderships = vec![Leadership { partition, leader_epoch }];
                let request = match complaint {
                    Complaint::WriteFailed => Request::RenewTerms { broker, incarnation, leaderships },
                    Complaint::SlowDisk => Request::HandOver { broker, incarnation, leaderships },
                    Complaint::LogSuspect => Request::ReplicasLost { broker, incarnation, partitions: vec![partition] },
                };
                (Question::Nobody, request)
            }
        };
        self.ask_controller(b, question, request);
    }

    fn isr_change(&self, b: usize, p: usize, alter: &Alter) -> IsrChange {
        let node = &self.nodes[b];
        let run = |id: BrokerId| {
            let joining = alter.joining.iter().find(|(joining, _)| *joining == id).map(|(_, run)| *run);
            let own = (id == node.id).then_some(node.host.incarnation);
            joining.or(own).or(node.host.run_of(id)).unwrap_or_default()
        };
        let isr = alter.isr.iter().map(|id| (*id, run(*id))).collect();
        let (leader_epoch, partition_epoch) = (alter.leader_epoch, alter.partition_epoch);
        IsrChange { partition: partition_id(p), leader_epoch, partition_epoch, isr }
    }

    fn on_altered(&mut self, b: usize, p: usize, alter: &Alter, answer: Result<(), AlterPartitionError>) {
        let outcome = match answer {
            // It is committed, and in force here already: an image brought it.
            Ok(()) => return,
            Err(AlterPartitionError::Stale(_)) => Altered::Outdated,
            Err(AlterPartitionError::Ineligible { .. } | AlterPartitionError::Isr(_)) => Altered::Ineligible,
        };
        if self.nodes[b].runs() {
            let (leader_epoch, partition_epoch) = (alter.leader_epoch, alter.partition_epoch);
            let event = Event::Altered { leader_epoch, partition_epoch, outcome };
            self.step(b, p, event, &Beside::NONE);
        }
    }
}
