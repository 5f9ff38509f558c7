//! The controller's side of the streams that brokers open, as `broker/src/controller/service.rs` keeps it.
//!
//! Owns who was heard when, and the order on each stream: what an answer rests on is sent before the answer. It decides
//! nothing; everything that it hears is an event of the machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_core::controller::{Answer, Document, DocumentId, Event, Presentation, Request, WriteId};
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation};

use crate::control::{Asker, Stage};
use crate::mutants::ShellRule;
use crate::streams::{Down, Item, SERVER, Up};
use crate::world::{Action, Local, World};

/// One broker's stream.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    broker: BrokerId,
    run: Option<Incarnation>,
    /// When which beat went down.
    beats: BTreeMap<u64, Instant>,
    sent: BTreeMap<DocumentId, WriteId>,
    /// In whose term they were sent.
    epoch: Option<ControllerEpoch>,
    /// The stream belongs to this round of asking.
    round: Option<u64>,
}

/// What crosses the network is cut to whole ones, and no age may look younger than it is.
const TICK: Duration = Duration::from_micros(1);
/// How often it is looked whether a broker whose stream closed still takes connections, and how far apart.
const LOOKS: u32 = 5;
const LOOK_EVERY_US: u64 = 100_000;

impl World {
    fn down(&mut self, line: u64, down: Down) {
        self.send_item(line, SERVER, Item::Down(Box::new(down)));
    }

    /// A broker says something.
    pub(crate) fn on_up(&mut self, b: usize, line: u64, up: Up) {
        match up {
            Up::Hello { presentation, run } => self.welcome(b, line, presentation, run),
            Up::Beat { sequence, run, draining, synced } => {
                let echoed = self.holds(ShellRule::BeatsAreEchoed);
                let now = self.nodes[b].instant(self.now);
                let Some(control) = self.nodes[b].control.as_mut() else { return };
                let Some(known) = control.lines.get_mut(&line) else { return };
                known.run = Some(run);
                let broker = known.broker;
                control.heard.insert(broker, now);
                known.beats.insert(sequence, now);
                if !echoed {
                    control.proven.insert(broker, now);
                }
                self.feed(b, Event::Heartbeat { broker, incarnation: run, draining, synced });
                let Some(control) = self.nodes[b].control.as_ref() else { return };
                let published = control.published.as_ref().filter(|_| control.leads());
                let (epoch, view) = published.map_or_else(Default::default, |p| (p.epoch, p.view.0));
                let ages = control.heard.iter().map(|(id, at)| (*id, now.saturating_duration_since(*at))).collect();
                let most_heard = self.most_heard(b, Some(broker)).map(|at| now.saturating_duration_since(at) + TICK);
                let most_heard = if self.holds(ShellRule::WhoDecidesConfirms) { most_heard } else { Some(TICK) };
                self.down(line, Down::Beat { sequence, epoch, view, ages, most_heard });
            }
            Up::Echo { sequence } => {
                let Some(control) = self.nodes[b].control.as_mut() else { return };
                let Some(known) = control.lines.get_mut(&line) else { return };
                // It may have been under way for long: it was sent after what it echoes had left.
                if let Some(left) = known.beats.get(&sequence).copied() {
                    let proven = control.proven.entry(known.broker).or_insert(left);
                    *proven = left.max(*proven);
                    known.beats.retain(|other, _| *other > sequence);
                }
            }
            Up::Ask { id, request } => {
                let known = self.nodes[b].control.as_mut().and_then(|control| control.lines.get_mut(&line));
                if let Some(known) = known {
                    if let Request::Admit { incarnation, .. } = &request {
                        known.run = Some(*incarnation);
                    }
                    self.ask_here(b, Asker::Line(line, id), request);
                }
            }
            Up::Leaving { run } => {
                let known = self.nodes[b].control.as_ref().and_then(|control| control.lines.get(&line));
                if let Some(broker) = known.map(|known| known.broker) {
                    self.feed(b, Event::Left { broker, incarnation: run });
                }
            }
        }
    }

    fn welcome(&mut self, b: usize, line: u64, presentation: Presentation, run: Option<Incarnation>) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let round = match control.stage {
            Stage::Waiting | Stage::Halted => {
                self.down(line, Down::NotController);
                return self.close_end(line, SERVER);
            }
            Stage::Claiming(round) => Some(round),
            Stage::Leading(_) => None,
        };
        let broker = presentation.broker;
        control
            .lines
            .insert(line, Line { broker, run, beats: BTreeMap::new(), sent: BTreeMap::new(), epoch: None, round });
        self.feed(b, Event::Presented(presentation));
        self.on_stage(b, line);
    }

    /// The line is told how far the controller is.
    pub(crate) fn on_stage(&mut self, b: usize, line: u64) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let stage = control.stage;
        let Some(known) = control.lines.get_mut(&line) else { return };
        match stage {
            Stage::Leading(_) => self.send_documents(b, line),
            Stage::Claiming(round) => {
                // Everybody is asked anew, by having to come anew.
                let begun = *known.round.get_or_insert(round);
                if begun != round || known.epoch.is_some() {
                    self.end_line(b, line);
                }
            }
            Stage::Waiting | Stage::Halted => {
                self.down(line, Down::NotController);
                self.end_line(b, line);
            }
        }
    }

    fn send_documents(&mut self, b: usize, line: u64) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let (Some(published), Some(known)) = (&control.published, control.lines.get_mut(&line)) else { return };
        let complete = known.epoch != Some(published.epoch);
        if complete {
            known.sent.clear();
        }
        let unsent = |(id, (write, _)): &(&DocumentId, &(WriteId, Document))| known.sent.get(id) != Some(write);
        let changed: Vec<(DocumentId, WriteId, Document)> = published
            .documents
            .iter()
            .filter(unsent)
            .map(|(id, (write, document))| (*id, *write, document.clone()))
            .collect();
        if changed.is_empty() && !complete {
            return;
        }
        known.sent.extend(changed.iter().map(|(id, write, _)| (*id, *write)));
        known.epoch = Some(published.epoch);
        let (epoch, view) = (published.epoch, published.view.0);
        let documents = changed.into_iter().map(|(_, _, document)| document).collect();
        self.down(line, Down::Documents { epoch, view, complete, documents });
    }

    /// An answer goes out, behind what it rests on.
    pub(crate) fn answer_line(&mut self, b: usize, line: u64, id: u64, answer: Answer) {
        self.on_stage(b, line);
        self.down(line, Down::Answer { id, answer });
    }

    fn end_line(&mut self, b: usize, line: u64) {
        self.close_end(line, SERVER);
        self.line_ended(b, line);
    }

    /// A stream is over. Whoever is not there any more is dead soon.
    pub(crate) fn line_ended(&mut self, b: usize, line: u64) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let Some(known) = control.lines.remove(&line) else { return };
        let later =
            control.lines.range(line..).any(|(_, other)| (other.broker, other.run) == (known.broker, known.run));
        for id in control.forget_line(line) {
            self.count("registration dropped with its stream");
            self.feed(b, Event::AskerGone(id));
        }
        // While a later stream of that run is open, the end of this one says nothing.
        if let Some(incarnation) = known.run.filter(|_| !later) {
            self.feed(b, Event::StreamClosed { broker: known.broker, incarnation, refused: false });
            self.plan_look(b, known.broker, incarnation, LOOKS, 500);
        }
    }

    fn plan_look(&mut self, b: usize, broker: BrokerId, run: Incarnation, left: u32, delay: u64) {
        let life = self.nodes[b].life;
        self.plan(delay, Action::Local { node: b, life, what: Local::LookFor { broker, run, left } });
    }

    /// Whether a broker whose stream closed still takes connections.
    pub(crate) fn look_for(&mut self, b: usize, broker: BrokerId, run: Incarnation, left: u32) {
        let other = usize::try_from(broker.get() - 1).unwrap_or(0);
        if self.refuses(b, other) {
            self.feed(b, Event::StreamClosed { broker, incarnation: run, refused: true });
        } else if left > 1 {
            self.plan_look(b, broker, run, left - 1, LOOK_EVERY_US);
        }
    }

    /// Whether a connection is refused, as opposed to taken, or not answered.
    pub(crate) fn refuses(&self, from: usize, to: usize) -> bool {
        let reaches =
            !self.network.blocked.contains(&(from + 1, to + 1)) && !self.network.blocked.contains(&(to + 1, from + 1));
        let refused = self.network.refusing.get(&to).is_some_and(|&until| until > self.now);
        reaches && (refused || !self.nodes[to].up)
    }
}
