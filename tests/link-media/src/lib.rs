//! Media of the link benchmark. The programs are `link-recording`, which prepares what all peers send, and
//! `link-receiver`, which writes a line of JSON for all that arrives.
