//! The machine is started again by a command: logind is asked once, after the command is on the disk and never in a
//! customer's call. The logind here only takes notes.

use kiosk_harness::{
    fleet::{self, Fleet, command},
    login::Logind,
    scene,
    wait::until,
    world::scenario,
};
use kiosk_proto::fleet::Command;

#[test]
fn logind_is_asked_once_and_the_answer_comes_after_the_start() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let logind = Logind::on(&fleet.kiosk, true, fleet.state_dir.join("commands"))?;
        let reboot = command(Command::Reboot {});
        let id = reboot.id.to_string();

        // Not before the call is over.
        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;
        fleet.send(&reboot)?;
        fleet.wait_answer(&id, |answer| answer["outcome"] == "waiting")?;
        assert_eq!(logind.reboots(), []);
        fleet.kiosk.end_call()?;
        until(fleet::SOON, "a reboot", || Ok((!logind.reboots().is_empty()).then_some(())))?;
        let asked = logind.reboots();
        assert!(!asked[0].interactive && asked[0].file.contains(&id), "{asked:?}");
        // It comes again, and is not answered as done before it is.
        fleet.send(&reboot)?;
        fleet.run(&command(Command::Ping {}))?;
        let ends = |fleet: &Fleet| {
            let answers = fleet.said("response/test").into_iter();
            answers.filter(|answer| answer["id"] == *id && answer["outcome"] == "done").count()
        };
        assert_eq!(ends(&fleet), 0);

        // The machine goes down and comes up; what was sent meanwhile was kept by the broker.
        fleet.kiosk.process().kill()?;
        fleet.wait_presence(false)?;
        fleet.send(&reboot)?;
        fleet.kiosk.restart()?;
        until(fleet::SOON, "the answer, and the same again", || Ok((ends(&fleet) >= 2).then_some(())))?;
        fleet.run(&command(Command::Ping {}))?;
        assert_eq!(logind.reboots(), asked);
        Ok(())
    });
}

#[test]
fn a_reboot_that_is_not_allowed_is_answered_with_the_remedy() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, scene::kiosk_config(&janus)?)?;
        let nobody = fleet.run(&command(Command::Reboot {}))?;
        let logind = Logind::on(&fleet.kiosk, false, fleet.state_dir.join("commands"))?;
        let refused = fleet.run(&command(Command::Reboot {}))?;
        for (answer, why) in [(nobody, "org.freedesktop.login1"), (refused, "Interactive authentication required")] {
            let message = answer["message"].as_str().unwrap_or_default();
            assert_eq!(answer["outcome"], "failed", "{answer}");
            assert!(message.contains(why) && message.contains("a rule of polkit"), "{answer}");
        }
        assert_eq!(logind.reboots().len(), 1);
        assert_eq!(fleet.run(&command(Command::Ping {}))?["outcome"], "done");
        Ok(())
    });
}
