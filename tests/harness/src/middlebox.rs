//! A box between branch and bank that forgets connections which were quiet for some time.

use crate::{
    Result,
    world::{Host, World},
};

/// The router resets the connections of a host which were quiet for so many seconds, when they speak again. Packets of such
/// connections are counted by `cut`.
pub fn resets_what_was_quiet(world: &World, branch: Host, quiet_s: u64) -> Result<()> {
    // Not connection tracking, whose time-outs a user namespace may not set.
    world.nft(
        Host::Router,
        &format!(
            "table ip box {{
                counter cut {{ }}
                set alive {{
                    type ipv4_addr . inet_service . ipv4_addr . inet_service
                    flags dynamic,timeout; timeout {quiet_s}s; size 4096;
                }}
                chain forward {{
                    type filter hook forward priority filter;
                    iifname {branch} tcp flags & (syn | ack) == syn \
                        add @alive {{ ip saddr . tcp sport . ip daddr . tcp dport }}
                    iifname {branch} ip saddr . tcp sport . ip daddr . tcp dport @alive \
                        update @alive {{ ip saddr . tcp sport . ip daddr . tcp dport }} accept
                    oifname {branch} ip daddr . tcp dport . ip saddr . tcp sport @alive \
                        update @alive {{ ip daddr . tcp dport . ip saddr . tcp sport }} accept
                    iifname {branch} tcp flags & rst == 0 counter name cut reject with tcp reset
                    oifname {branch} tcp flags & rst == 0 counter name cut reject with tcp reset
                }}
            }}",
            branch = branch.name()
        ),
    )
}
