//! The local ports: one to begin at, one for each broker.
//!
//! Owns which broker has which port, for as long as the command runs: a broker whose Pod is another one keeps its port, and the
//! next connection goes to that Pod. One that joins gets a port when an answer names it first.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Bound};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::pass::{self, Broken};
use crate::brokers::{self, Broker};
use crate::failure::{Exit, Failure, Result};
use crate::place::Place;
use crate::tunnel::Tunnel;

/// How many brokers can have ports.
const BROKERS_MAX: usize = 1024;

/// When it is tried again to take a connection, after an error.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Where a local port leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// Any broker that serves, another one each time.
    Bootstrap,
    /// That broker.
    Broker(i32),
}

/// Every local port.
pub(super) struct Ports {
    place: Place,
    cluster: String,
    /// The port that brokers listen at.
    remote: u16,
    /// The port to begin at; 0 takes any.
    wanted: u16,
    taken: Mutex<BTreeMap<i32, Option<u16>>>,
    /// How many connections have gone to any broker.
    turns: Mutex<usize>,
    /// What was last said of each target: who tries again and again is told once.
    said: Mutex<BTreeMap<Target, String>>,
}

impl Ports {
    pub(super) fn new(place: Place, cluster: String, remote: u16, wanted: u16) -> Self {
        let (taken, turns, said) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { place, cluster, remote, wanted, taken, turns, said }
    }

    /// The local port of a broker; its first mention opens it. `None`: it can have none.
    pub(super) fn local(self: &Arc<Self>, broker: i32) -> Option<u16> {
        let mut taken = self.taken.lock();
        if let Some(port) = taken.get(&broker) {
            return *port;
        }
        if taken.len() >= BROKERS_MAX {
            return None;
        }
        let port = match Arc::clone(self).listen(Target::Broker(broker)) {
            Ok(port) => {
                let mut out = io::stdout();
                // Where nobody reads what is printed the port is open all the same.
                let _ = writeln!(out, "broker {broker}: 127.0.0.1:{port}").and_then(|()| out.flush());
                Some(port)
            }
            Err(error) => {
                eprintln!("broker {broker} has no local port, clients are told its own address: {error}");
                None
            }
        };
        taken.insert(broker, port);
        port
    }

    /// Opens the port of a target, and serves it from now on.
    pub(super) fn listen(self: Arc<Self>, target: Target) -> io::Result<u16> {
        let bound = self.bind(target)?;
        let port = bound.local_addr()?.port();
        bound.set_nonblocking(true)?;
        let listener = TcpListener::from_std(bound)?;
        tokio::spawn(self.serve(listener, target));
        Ok(port)
    }

    fn bind(&self, target: Target) -> io::Result<Bound> {
        let at = |port: u16| Bound::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let Target::Broker(broker) = target else { return at(self.wanted) };
        // The same one each time where it is free: people write it down.
        let usual = u16::try_from(broker).ok().and_then(|id| self.wanted.checked_add(1)?.checked_add(id));
        match usual.filter(|_| self.wanted != 0) {
            Some(port) => at(port).or_else(|_| at(0)),
            None => at(0),
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, target: Target) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    tokio::spawn(Arc::clone(&self).connection(client, target));
                }
                Err(error) => {
                    self.say(target, format!("a connection could not be taken: {error}"));
                    // As when all descriptors are taken: some come back when others end.
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, client: TcpStream, target: Target) {
        // Small answers are not to wait for more.
        let _ = client.set_nodelay(true);
        match self.passed(client, target).await {
            Ok(()) => {
                self.said.lock().remove(&target);
            }
            Err(why) => self.say(target, why),
        }
    }

    async fn passed(self: &Arc<Self>, client: TcpStream, target: Target) -> Result<(), String> {
        let pod = self.pod(target).await.map_err(|failure| failure.words())?;
        let tunnel = Tunnel::open(&self.place, &pod, self.remote).await;
        let tunnel =
            tunnel.map_err(|failure| format!("{}; clients that connect now have to try again", failure.words()))?;
        let (stream, refusal, end) = tunnel.split();
        let ended = {
            let passing = pass::pass(client.into_split(), tokio::io::split(stream), |broker| self.local(broker));
            // It ends by itself when no word comes: then the rest of what is under way still passes.
            let refused = async {
                match refusal.await {
                    Some(why) => why,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = passing => ended.map_err(|broken| match broken {
                    // One side has gone in the middle of a frame, as killed ones do.
                    Broken::Io(_) => String::new(),
                    Broken::Request(_) | Broken::Answer(_) | Broken::Unreadable(_) | Broken::TooLarge { .. } => broken.to_string(),
                }),
                why = refused => Err(format!("{pod}: {}; clients that connect now have to try again", plainly(&why))),
            }
        };
        end.close().await;
        ended
    }

    /// The Pod that a connection goes to.
    async fn pod(&self, target: Target) -> Result<String> {
        let found = brokers::all(&self.place.pods(&self.cluster).await?);
        let chosen = match target {
            Target::Bootstrap => {
                let serving: Vec<&Broker> = found.iter().filter(|one| one.serves).collect();
                let mut turns = self.turns.lock();
                *turns = turns.wrapping_add(1);
                serving.get(*turns % serving.len().max(1)).copied()
            }
            Target::Broker(id) => found.iter().find(|one| one.id == id),
        };
        let missing = || {
            let who = match target {
                Target::Bootstrap => "no broker serves".to_owned(),
                Target::Broker(id) => format!("broker {id} has no Pod"),
            };
            Failure::new(Exit::Late, format!("{who}; clients that connect now have to try again"))
        };
        chosen.map(|broker| broker.pod.clone()).ok_or_else(missing)
    }

    fn say(&self, target: Target, words: String) {
        let last = self.said.lock().insert(target, words.clone());
        if !words.is_empty() && last.as_ref() != Some(&words) {
            match target {
                Target::Bootstrap => eprintln!("bootstrap: {words}"),
                Target::Broker(id) => eprintln!("broker {id}: {words}"),
            }
        }
    }
}

/// Why a Pod could not be reached, without the names of namespaces and sockets on its node.
fn plainly(why: &str) -> &str {
    if why.contains("connection refused") {
        return "it does not listen there now";
    }
    if why.contains("broken pipe") || why.contains("connection reset") {
        return "its process has ended";
    }
    why.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_put_plainly() {
        let refused = "error forwarding port 9092 to pod fe39, uid : failed to connect to localhost:9092 inside namespace \"fe39\", \
                       IPv4: dial tcp4 127.0.0.1:9092: connect: connection refused";
        assert_eq!(plainly(refused), "it does not listen there now");
        let broke =
            "error forwarding port 9092 to pod fc19, uid : write tcp4 127.0.0.1:1->127.0.0.1:2: write: broken pipe";
        assert_eq!(plainly(broke), "its process has ended");
        assert_eq!(plainly("something else\n"), "something else");
    }
}
