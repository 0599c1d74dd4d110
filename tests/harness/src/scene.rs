//! What most scenarios begin with: a server, a kiosk and an agent in one call.

use crate::{
    Result,
    agent::{Browser, BrowserOptions, Part},
    janus::{Janus, JanusOptions, ROOM},
    kiosk::{Kiosk, KioskConfig},
    wait::until,
    world::{Host, World},
};
use std::time::Duration;

/// How long a call gets to come up on a busy machine with software codecs.
pub const SETUP: Duration = Duration::from_secs(45);

/// The parts of a call, each on its host.
#[derive(Debug)]
pub struct Scene {
    /// The agent's browser.
    pub agent: Browser,
    /// The kiosk.
    pub kiosk: Kiosk,
    /// The server.
    pub janus: Janus,
}

/// Janus on the server, with the room of one kiosk.
pub fn janus(world: &World) -> Result<Janus> {
    Janus::start(&world.at(Host::Server)?, JanusOptions::new(Host::Server.address()))
}

/// The configuration of a kiosk for the room, with a test picture and a tone.
pub fn kiosk_config(janus: &Janus) -> Result<KioskConfig> {
    KioskConfig::new("kiosk-1", janus, ROOM)
}

/// A kiosk on its host, idle.
pub fn kiosk(world: &World, config: &KioskConfig) -> Result<Kiosk> {
    Kiosk::start(&world.at(Host::Kiosk)?, "kioskd", config)
}

/// An agent on its host, who answers as soon as a kiosk waits.
pub fn agent(world: &World, janus: &Janus) -> Result<Browser> {
    Browser::start(&world.at(Host::Agent)?, &BrowserOptions::new(Part::Agent, "agent", janus, ROOM)?)
}

impl Scene {
    /// Starts all of them; returns when picture and sound flow both ways.
    pub fn start(world: &World) -> Result<Self> {
        let janus = janus(world)?;
        let kiosk = kiosk(world, &kiosk_config(&janus)?)?;
        kiosk.start_call()?;
        let agent = agent(world, &janus)?;
        let mut scene = Self { agent, kiosk, janus };
        scene.flows(SETUP)?;
        Ok(scene)
    }

    /// Waits until a second's worth of new pictures and new sound has come through, both ways.
    pub fn flows(&mut self, timeout: Duration) -> Result<()> {
        flows(&mut self.kiosk, &mut self.agent, timeout)
    }
}

/// The same for any kiosk and agent.
pub fn flows(kiosk: &mut Kiosk, agent: &mut Browser, timeout: Duration) -> Result<()> {
    kiosk.wait_state("active", timeout)?;
    let at_agent = advances(timeout, "new picture and sound of the kiosk", || {
        agent.process().must_run()?;
        let stats = agent.stats()?;
        Ok((stats.frames_decoded, stats.audio.packets))
    });
    at_agent.map_err(|error| {
        eprintln!("the kiosk's figures: {:?}", kiosk.figures());
        agent.process().explain(error)
    })?;
    let at_kiosk = advances(timeout, "new picture and sound of the agent", || {
        kiosk.process().must_run()?;
        let receive = kiosk.figures()?.receive;
        Ok((receive.video.frames, receive.audio.packets))
    });
    at_kiosk.map_err(|error| {
        eprintln!("the kiosk's figures: {:?}\nthe agent's: {:?}", kiosk.figures(), agent.stats());
        kiosk.process().explain(error)
    })
}

/// Waits until counters of frames and packets have moved on. A new connection counts from zero again.
fn advances(timeout: Duration, what: &str, mut read: impl FnMut() -> Result<(u64, u64)>) -> Result<()> {
    const FRAMES: u64 = 20;
    const PACKETS: u64 = 30;
    let mut base = read()?;
    until(timeout, what, || {
        let (frames, packets) = read()?;
        base = (base.0.min(frames), base.1.min(packets));
        Ok((frames >= base.0 + FRAMES && packets >= base.1 + PACKETS).then_some(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up by `step`, from zero again after ten reads.
    fn counter(step: (u64, u64)) -> impl FnMut() -> Result<(u64, u64)> {
        let mut reads = 0;
        move || {
            reads += 1;
            let since = if reads > 10 { reads - 10 } else { 1000 };
            Ok((since * step.0, since * step.1))
        }
    }

    #[test]
    fn only_counters_that_both_move_on_are_a_flow() {
        let wait = Duration::from_millis(700);
        assert!(advances(wait, "both", counter((2, 3))).is_ok());
        assert!(advances(wait, "no sound", counter((2, 0))).is_err());
        assert!(advances(wait, "no picture", counter((0, 3))).is_err());
    }
}
