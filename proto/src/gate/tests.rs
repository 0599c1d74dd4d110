use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::PortRange;
use crate::ice::{Direction, TcpOnlyPolicy, TcpOnlySdp};

const OPEN: Room = Room::new(u64::MAX / 2, 0, 0);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A frame with its length in front; `mark` fills what is not header.
fn frame(class: Class, timestamp: u32, bytes: usize, mark: u8) -> Vec<u8> {
    let second = match class {
        Class::Control => 200,
        Class::Audio => AUDIO_PAYLOAD_TYPE,
        Class::Video => 96 | 0x80,
    };
    let mut packet = vec![0x80, second, 0, mark];
    packet.extend(timestamp.to_be_bytes());
    packet.resize(bytes.max(8), mark);
    let mut frame = u16::try_from(packet.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(packet);
    frame
}

/// Writes all that may be written now, at most `bytes` of it.
fn write(queue: &mut GateQueue, now: Duration, room: Room, mut bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while bytes > 0 {
        let Some(chunk) = queue.next(now, room) else { break };
        let mut part = [chunk.first, chunk.second].concat();
        part.truncate(bytes);
        let class = chunk.class;
        bytes -= part.len();
        queue.written(class, part.len());
        out.extend(part);
    }
    out
}

#[test]
fn packets_are_told_apart_as_the_rfcs_say() {
    let of = |first: u8, second: u8| classify(&[first, second, 0, 0]);
    for (first, what) in [(0, "STUN"), (1, "STUN"), (22, "DTLS handshake"), (23, "DTLS data"), (64, "TURN channel")] {
        assert_eq!(of(first, 111), Class::Control, "{what}");
    }
    assert_eq!((of(0x80, 200), of(0x81, 206)), (Class::Control, Class::Control));
    assert_eq!((of(0x80, 111), of(0x90, 111 | 0x80)), (Class::Audio, Class::Audio));
    assert_eq!((of(0x80, 96), of(0x80, 96 | 0x80)), (Class::Video, Class::Video));
    assert_eq!((classify(&[]), classify(&[0x80])), (Class::Control, Class::Control));
}

#[test]
fn what_is_urgent_overtakes_but_never_inside_a_packet() {
    let mut queue = GateQueue::default();
    let video = frame(Class::Video, 1, 1200, 1);
    queue.push(ms(0), &video);
    queue.push(ms(0), &frame(Class::Video, 1, 1200, 2));
    assert_eq!(write(&mut queue, ms(0), OPEN, 700), video[..700]);
    let (audio, control) = (frame(Class::Audio, 9, 80, 3), frame(Class::Control, 0, 60, 4));
    queue.push(ms(1), &audio);
    queue.push(ms(1), &control);
    let rest = write(&mut queue, ms(1), OPEN, usize::MAX);
    let expected = [&video[700..], &control, &audio, &frame(Class::Video, 1, 1200, 2)].concat();
    assert_eq!(rest, expected);
    assert!(queue.is_empty());
}

#[test]
fn the_limit_holds_back_the_picture_first() {
    let mut queue = GateQueue::default();
    for class in [Class::Video, Class::Audio, Class::Control] {
        queue.push(ms(0), &frame(class, 1, 1000, 0));
    }
    assert_eq!(queue.next(ms(0), Room::new(5000, 4500 + 2 * RESERVE, 0)), None);
    let class = |queue: &mut GateQueue, outstanding| {
        let chunk = queue.next(ms(0), Room::new(5000, outstanding, 0)).map(|chunk| (chunk.class, chunk.first.len()));
        chunk.inspect(|(class, bytes)| queue.written(*class, *bytes))
    };
    assert_eq!(class(&mut queue, 4500 + RESERVE), Some((Class::Control, 1002)));
    assert_eq!(class(&mut queue, 4500 + RESERVE), None);
    assert_eq!(class(&mut queue, 4500), Some((Class::Audio, 1002)));
    assert_eq!(class(&mut queue, 4500), None);
    assert_eq!(class(&mut queue, 3998), Some((Class::Video, 1002)));
    queue.push(ms(0), &frame(Class::Video, 1, 60_000, 0));
    assert_eq!(class(&mut queue, 1), None);
    assert_eq!(class(&mut queue, 0), Some((Class::Video, 60_002)), "nothing stands still for a limit below one packet");
}

#[test]
fn what_the_network_does_not_take_waits_where_it_can_be_overtaken() {
    let admits = |class, unsent| Room::new(60_000, 10_000, unsent).admits(class, 1000);
    assert!(admits(Class::Video, UNSENT - 1) && !admits(Class::Video, UNSENT));
    assert!(admits(Class::Audio, UNSENT) && !admits(Class::Audio, UNSENT + RESERVE));
    assert!(admits(Class::Control, UNSENT + RESERVE) && !admits(Class::Control, UNSENT + 2 * RESERVE));
}

#[test]
fn a_discarded_backlog_leaves_whole_frames_and_is_counted_apart() {
    let mut queue = GateQueue::default();
    let begun = frame(Class::Video, 1, 1200, 1);
    queue.push(ms(0), &begun);
    (0..9).for_each(|mark| assert_eq!(queue.push(ms(0), &frame(Class::Video, 2, 1200, mark)), Class::Video));
    assert_eq!(write(&mut queue, ms(0), OPEN, 5), begun[..5]);
    assert_eq!(queue.discard(Class::Video), 9);
    let fresh = frame(Class::Video, 3, 500, 7);
    queue.push(ms(5), &fresh);
    let state = queue.state(ms(40)).video;
    assert_eq!((state.queued_packets, state.queued_bytes, state.oldest), (2, 1197 + 502, ms(40)));
    assert_eq!(write(&mut queue, ms(40), OPEN, usize::MAX), [&begun[5..], &fresh].concat());
    let state = queue.state(ms(40)).video;
    assert_eq!((state.packets_in, state.packets_out, state.packets_discarded), (11, 2, 9));
    assert_eq!(queue.discard(Class::Video), 0);
}

#[test]
fn a_queue_over_its_bound_loses_its_oldest_pictures_whole() {
    let mut queue = GateQueue::default();
    for timestamp in 0..100 {
        for mark in 0..20 {
            queue.push(ms(0), &frame(Class::Video, timestamp, 1200, mark));
        }
    }
    let state = queue.state(ms(0)).video;
    assert!(state.packets_discarded > 0 && state.packets_discarded % 20 == 0, "{state:?}");
    assert!(state.queued_bytes <= 1024 * 1024, "{state:?}");
    let out = write(&mut queue, ms(0), OPEN, usize::MAX);
    let first = Frames::new(&out).next().unwrap();
    assert_eq!(u64::from(first[9]), state.packets_discarded / 20, "the first that is left begins a picture");
}

#[test]
fn old_sound_is_not_sent() {
    let mut queue = GateQueue::default();
    queue.push(ms(0), &frame(Class::Audio, 1, 80, 1));
    let fresh = frame(Class::Audio, 2, 80, 2);
    queue.push(ms(300), &fresh);
    let now = AUDIO_MAX_AGE + ms(1);
    assert_eq!(write(&mut queue, now, OPEN, usize::MAX), fresh);
    assert_eq!(queue.state(now).audio.packets_discarded, 1);
}

#[test]
fn the_ice_agent_is_led_to_the_gate_and_nowhere_else() {
    let policy = TcpOnlyPolicy { media_ports: PortRange::try_from("40000-40099".to_owned()).unwrap() };
    let text = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.1\r\n\
        a=candidate:1 1 tcp 7 192.0.2.1 40010 typ host tcptype passive\r\n\
        a=candidate:2 1 tcp 6 2001:db8::1 40011 typ host tcptype passive\r\n\
        a=candidate:3 1 tcp 5 192.0.2.9 40012 typ host tcptype passive\r\na=mid:0\r\n";
    let sdp = TcpOnlySdp::filter(&policy, Direction::Incoming, text).unwrap();
    let way: SocketAddr = "127.0.0.1:5000".parse().unwrap();
    let way6: SocketAddr = "[::1]:5001".parse().unwrap();
    let mut asked = Vec::new();
    let mut gate = |real: SocketAddr| {
        asked.push(real);
        (real.port() != 40012).then_some(if real.is_ipv4() { way } else { way6 })
    };
    let gated = GatedSdp::new(&sdp, &policy, &mut gate);
    let candidates: Vec<&str> = gated.as_str().lines().filter(|line| line.contains("candidate")).collect();
    let expected = [
        "a=candidate:1 1 TCP 7 127.0.0.1 5000 typ host tcptype passive",
        "a=candidate:2 1 TCP 6 ::1 5001 typ host tcptype passive",
    ];
    assert_eq!(candidates, expected);
    assert!(gated.as_str().contains("a=mid:0\r\n") && gated.as_str().contains("c=IN IP4 192.0.2.1\r\n"));
    assert_eq!(asked.len(), 3);
    let one = policy.judge(Direction::Incoming, 1, "candidate:1 1 tcp 7 192.0.2.1 40010 typ host tcptype passive");
    let one = GatedCandidate::new(&one.unwrap(), &mut |_| Some(way)).unwrap();
    assert_eq!((one.mline(), one.line()), (1, "candidate:1 1 TCP 7 127.0.0.1 5000 typ host tcptype passive"));
}

#[derive(Debug, Clone)]
enum Act {
    Push(Class, u32, usize),
    Write { outstanding: u64, bytes: usize },
    Discard(Class),
    Wait(u64),
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![1 => Just(Class::Control), 2 => Just(Class::Audio), 5 => Just(Class::Video)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (class(), 0..9_u32, prop_oneof![8..1500_usize, 8..60_000_usize]).prop_map(|(c, t, b)| Act::Push(c, t, b)),
        5 => (0..60_000_u64, 1..5000_usize).prop_map(|(outstanding, bytes)| Act::Write { outstanding, bytes }),
        1 => class().prop_map(Act::Discard),
        1 => (0..400_u64).prop_map(Act::Wait),
    ]
}

proptest! {
    /// Whatever happens, the other side reads whole frames, those of a class in their order; every packet is
    /// accounted for.
    #[test]
    fn the_stream_stays_framed_ordered_and_counted(acts in proptest::collection::vec(act(), 0..200)) {
        let mut queue = GateQueue::default();
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        let mut pushed = ByClass::<Vec<Vec<u8>>>::default();
        for act in acts {
            match act {
                Act::Push(class, timestamp, bytes) => {
                    let list = pushed.of_mut(class);
                    list.push(frame(class, timestamp, bytes, list.len() as u8));
                    prop_assert_eq!(queue.push(now, &list[list.len() - 1]), class);
                }
                Act::Write { outstanding, bytes } => {
                    sent.extend(write(&mut queue, now, Room::new(30_000, outstanding, outstanding / 8), bytes));
                }
                Act::Discard(class) => {
                    queue.discard(class);
                }
                Act::Wait(millis) => now += ms(millis),
            }
            let state = queue.state(now);
            for class in Class::ALL {
                let of = state.of(class);
                prop_assert_eq!(of.packets_in, of.packets_out + of.packets_discarded + of.queued_packets);
                prop_assert_eq!(of.queued_bytes == 0, of.queued_packets == 0);
            }
        }
        sent.extend(write(&mut queue, now, OPEN, usize::MAX));
        prop_assert!(queue.is_empty());
        let mut frames = Frames::new(&sent);
        let mut ways = ByClass::<usize>::default();
        for frame in &mut frames {
            let class = classify(&frame[LENGTH_BYTES..]);
            let list = pushed.of(class);
            let at = ways.of_mut(class);
            while list.get(*at).is_some_and(|pushed| pushed != frame) {
                *at += 1;
            }
            prop_assert!(*at < list.len(), "a frame that nobody sent, or out of order");
            *at += 1;
        }
        prop_assert_eq!(frames.rest(), 0);
    }

    /// Bytes are cut into the same frames wherever the reads end.
    #[test]
    fn frames_do_not_depend_on_how_they_arrive(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..3000), cut: usize
    ) {
        let mut whole = Frames::new(&bytes);
        let all: Vec<&[u8]> = whole.by_ref().collect();
        let cut = cut % (bytes.len() + 1);
        let mut first = Frames::new(&bytes[..cut]);
        let mut split: Vec<&[u8]> = first.by_ref().collect();
        let mut second = Frames::new(&bytes[cut - first.rest()..]);
        split.extend(second.by_ref());
        prop_assert_eq!(all, split);
        prop_assert_eq!(whole.rest(), second.rest());
        prop_assert!(whole.rest() < MAX_FRAME_BYTES);
    }
}
