//! A call has two participants: a second agent is refused in words that help, a second kiosk in the room too, and the
//! call in progress notices nothing.

use kiosk_harness::{
    Error, Result,
    agent::{Browser, BrowserOptions, BrowserPair, Part},
    janus::{Janus, ROOM, WSS_PORT},
    kiosk::{Kiosk, KioskConfig},
    scene::{self, SETUP, Scene},
    wait::until,
    world::{Host, World, scenario},
};
use kiosk_proto::figures::PairFigures;

/// The connections of a call, on both sides.
type Connections = (Option<PairFigures>, Option<PairFigures>, Vec<BrowserPair>);

fn connections(kiosk: &Kiosk, agent: &Browser) -> Result<Connections> {
    let figures = kiosk.figures()?;
    Ok((figures.publish.pair, figures.receive.pair, agent.stats()?.pairs))
}

/// An agent who sees the list of those who wait, and answers nobody until told.
fn idle_agent(world: &World, host: Host, name: &str, janus: &Janus) -> Result<Browser> {
    let mut agent = Browser::start(&world.at(host)?, &BrowserOptions::new(Part::Agent, name, janus, ROOM)?)?;
    agent.tell("leave")?;
    Ok(agent)
}

/// Waits until the agent's list shows the kiosk.
fn sees_the_customer(agent: &Browser) -> Result<()> {
    until(SETUP, "the customer on the agent's list", || {
        Ok(agent.events("customers").last().is_some_and(|event| event["rooms"][0] == ROOM).then_some(()))
    })
}

#[test]
fn a_second_agent_is_refused_and_the_call_goes_on() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        let mut first = idle_agent(world, Host::Agent, "first", &janus)?;
        let mut second = idle_agent(world, Host::Agent2, "second", &janus)?;
        kiosk.start_call()?;
        sees_the_customer(&first)?;
        sees_the_customer(&second)?;

        // The second agent's list is a few seconds old when the agent answers from it.
        let cut = format!(
            "table inet cut {{ chain output {{ type filter hook output priority 0; tcp dport {WSS_PORT} drop; }}; }}"
        );
        world.nft(Host::Agent2, &cut)?;
        first.tell("join")?;
        first.wait_event("joined", SETUP)?;
        second.tell("join")?;
        second.wait_event("answered", SETUP)?;
        world.run(Host::Agent2, "nft", &["delete", "table", "inet", "cut"])?;
        let error = second.wait_event("error", SETUP)?;
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("Another agent has this call"), "{message}");

        scene::flows(&mut kiosk, &mut first, SETUP)?;
        let during = connections(&kiosk, &first)?;
        scene::flows(&mut kiosk, &mut first, SETUP)?;
        assert_eq!(connections(&kiosk, &first)?, during);
        assert!(second.events("joined").is_empty(), "the second agent published");
        let log = kiosk.process().log_text();
        assert!(log.contains("AGENT=agent/first") && !log.contains("agent/second"), "{log}");
        assert_eq!(kiosk.faults()?, []);

        // The one who was refused is next.
        first.tell("leave")?;
        second.tell("join")?;
        scene::flows(&mut kiosk, &mut second, SETUP)
    });
}

/// A second kiosk that was given the first one's room; it calls, and says what is wrong.
fn double(world: &World, janus: &Janus) -> Result<Kiosk> {
    let mut double = Kiosk::start(&world.at(Host::Kiosk2)?, "double", &KioskConfig::new("kiosk-2", janus, ROOM)?)?;
    double.start_call()?;
    let fault = double.wait_fault("room-of-another", SETUP)?;
    assert!(fault.contains("kiosk/kiosk-1 is in room 1001"), "{fault}");
    Ok(double)
}

#[test]
fn a_second_kiosk_keeps_out_of_a_room_where_the_first_waits() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", SETUP)?;
        let mut double = double(world, &janus)?;
        let mut agent = scene::agent(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        assert_eq!(kiosk.faults()?, []);
        // It has the room once the first has left it.
        kiosk.end_call()?;
        agent.tell("leave")?;
        double.wait_state("waiting", SETUP)
    });
}

#[test]
fn a_second_kiosk_is_refused_while_the_call_goes_on_and_says_what_is_wrong() {
    scenario(|world| {
        let Scene { mut agent, mut kiosk, janus } = Scene::start(world)?;
        let before = connections(&kiosk, &agent)?;
        let double = double(world, &janus)?;
        scene::flows(&mut kiosk, &mut agent, SETUP)?;
        assert_eq!(connections(&kiosk, &agent)?, before);
        assert_eq!(kiosk.faults()?, []);
        let state = double.state()?;
        if state != "connecting" {
            return Err(Error::Other(format!("the second kiosk is {state}")));
        }
        Ok(())
    });
}
