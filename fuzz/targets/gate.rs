//! What the ICE agent writes to the media gate: any bytes are frames, cut alike wherever the reads end; what the gate
//! writes is whole frames again, each of those it took at most once, and every one is accounted for.
#![no_main]

use kiosk_proto::gate::{Class, Frames, GateQueue, LENGTH_BYTES, Room, classify};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|input: &[u8]| {
    // Where the first read ends, and how much the kernel takes then.
    let Some(([a, b, c, d], bytes)) = input.split_first_chunk() else { return };
    let (cut, written) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    let mut whole = Frames::new(bytes);
    let all: Vec<&[u8]> = whole.by_ref().collect();
    assert_eq!(all.iter().map(|frame| frame.len()).sum::<usize>() + whole.rest(), bytes.len());

    let (first, second) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let mut queue = GateQueue::default();
    let mut read = first.to_vec();
    let (mut out, mut now) = (Vec::new(), Duration::ZERO);
    for more in [second, &[]] {
        let mut frames = Frames::new(&read);
        for frame in &mut frames {
            assert_eq!(queue.push(now, frame), classify(&frame[LENGTH_BYTES..]));
        }
        let rest = read.len() - frames.rest();
        read.drain(..rest);
        read.extend(more);
        write(&mut queue, now, usize::from(written), &mut out);
        now += Duration::from_millis(u64::from(cut));
    }
    queue.discard(Class::Video);
    write(&mut queue, now, usize::MAX, &mut out);
    assert!(queue.is_empty());

    let state = queue.state(now);
    let (mut sent, mut lost) = (0, 0);
    for class in Class::ALL {
        let of = state.of(class);
        assert_eq!(of.packets_in, of.packets_out + of.packets_discarded);
        (sent, lost) = (sent + of.packets_out, lost + of.packets_discarded);
    }
    assert_eq!(sent + lost, all.len() as u64);
    let mut frames = Frames::new(&out);
    let mut left: Vec<&[u8]> = all;
    for frame in &mut frames {
        let at = left.iter().position(|known| *known == frame).expect("a frame that was never taken");
        left.swap_remove(at);
    }
    assert_eq!((frames.rest(), left.len() as u64), (0, lost));
});

/// Writes as a kernel does that takes some bytes at a time.
fn write(queue: &mut GateQueue, now: Duration, mut bytes: usize, out: &mut Vec<u8>) {
    while bytes > 0 {
        let Some(chunk) = queue.next(now, Room::new(u64::MAX / 2, 1, 0)) else { return };
        let part = [chunk.first, chunk.second].concat();
        let (class, taken) = (chunk.class, part.len().min(bytes));
        assert!(taken > 0);
        out.extend(&part[..taken]);
        queue.written(class, taken);
        bytes -= taken;
    }
}
