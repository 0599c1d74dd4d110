//! Fifty calls, one after the other, in one daemon: it holds no more after the last than after the tenth, and the server
//! holds nothing.

use kiosk_harness::{
    Result,
    janus::Janus,
    kiosk::Kiosk,
    procfs::{Usage, kept_ports, usage},
    scene::{self, SETUP},
    wait::until,
    world::scenario,
};
use std::time::Duration;

const CALLS: u32 = 50;
/// Until then caches fill: plugins, codecs, the threads of pools, the allocator's arenas.
const WARM: u32 = 10;
/// Forty peer connections that are not freed would hold far more: one with its encoder takes several MiB, one without
/// 300 KiB. What the allocator keeps of freed memory varies by about 2 MiB.
const RSS_KIB: u64 = 6 * 1024;
/// Threads of pools (GLib's, tokio's for what blocks) end some 10 s after their work. A peer connection has more than these.
const THREADS: u64 = 3;
/// Ports that Janus may lose for a minute, of 70 that were used: the browser's goodbye and its hanging up may cross. If
/// Janus were the first to hang up, all 70 would be lost, and with a hundred of them it can take no call for a minute.
const KEPT_PORTS: usize = 7;

/// What a daemon without a call uses, once threads that end have ended.
fn idle(kiosk: &mut Kiosk) -> Result<Usage> {
    kiosk.wait_state("idle", SETUP)?;
    let pid = kiosk.process().pid();
    let mut last = usage(pid)?;
    let mut same = 0;
    until(SETUP, "the daemon to come to rest", || {
        let now = usage(pid)?;
        same = if (now.fds, now.threads) == (last.fds, last.threads) { same + 1 } else { 0 };
        last = now;
        Ok((same == 25).then_some(now))
    })
}

/// Sessions that Janus holds, by its log.
fn sessions(janus: &mut Janus) -> i64 {
    let log = janus.process().log_text();
    let count = |text: &str| log.matches(text).count() as i64;
    count("Creating new session") - count("Destroying session")
}

#[test]
fn fifty_calls_leave_nothing_behind() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let mut kiosk = scene::kiosk(world, &scene::kiosk_config(&janus)?)?;
        let mut agent = scene::agent(world, &janus)?;
        agent.tell("leave")?;
        until(SETUP, "the agent's session", || Ok((sessions(&mut janus) == 1).then_some(())))?;
        let (mut warm, mut server) = (None, None);
        for call in 1..=CALLS {
            kiosk.start_call()?;
            kiosk.wait_state("waiting", SETUP)?;
            if call % 10 == 0 {
                agent.tell("join")?;
                scene::flows(&mut kiosk, &mut agent, SETUP)?;
                agent.tell("leave")?;
                kiosk.wait_state("waiting", SETUP)?;
            }
            kiosk.end_call()?;
            if call == WARM {
                warm = Some(idle(&mut kiosk)?);
                server = Some(usage(janus.process().pid())?);
            }
        }
        let (warm, server) = (warm.unwrap_or_default(), server.unwrap_or_default());
        let end = idle(&mut kiosk)?;
        println!("measured: after {WARM} calls {warm:?}\nmeasured: after {CALLS} calls {end:?}");
        assert!(end.fds <= warm.fds, "{} descriptors, {} descriptors", warm.fds, end.fds);
        assert!(end.threads <= warm.threads + THREADS, "{} threads, {} threads", warm.threads, end.threads);
        assert!(end.rss_kib <= warm.rss_kib + RSS_KIB, "{} KiB, {} KiB", warm.rss_kib, end.rss_kib);

        // A session that nobody ended would stay for 45 s.
        until(Duration::from_secs(20), "Janus to hold no session but the agent's", || {
            Ok((sessions(&mut janus) == 1).then_some(()))
        })?;
        // It frees what a connection had some time after its end.
        let left = until(SETUP, &format!("Janus to hold no more than {server:?}"), || {
            let left = usage(janus.process().pid())?;
            Ok((left.fds <= server.fds && left.threads <= server.threads + THREADS).then_some(left))
        })?;
        println!("measured: Janus {server:?}\nmeasured: Janus {left:?}");
        let kept = kept_ports(janus.process().pid(), 40000..=40099)?;
        println!("measured: {kept} ports can't be used for a minute");
        assert!(kept <= KEPT_PORTS, "{kept} ports can't be used for a minute");
        let log = kiosk.process().log_text();
        assert!(!log.contains("starting over"), "a call did not come up at once:\n{log}");
        Ok(())
    });
}
