//! Kernel settings against what the product wants of them: the files in config/sysctl are the one place that says it.

/// What a kiosk's kernel should be set to, as sysctl.d(5) reads it.
pub const KIOSK: &str = include_str!("../../config/sysctl/kiosk.conf");

/// A setting that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off<'a> {
    /// The key, with dots.
    pub key: &'a str,
    /// What it is; none when this kernel does not have it.
    pub value: Option<String>,
    /// What it should be.
    pub wanted: &'a str,
}

/// The settings of a file, in its order. Lines that are none are comments, or not there for sysctl.d(5) either.
pub fn settings(file: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = file.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}

/// Compares a file with what the kernel says; `read` gives the value of a key with dots. Blanks count as one.
pub fn compare<'a>(file: &'a str, read: impl Fn(&str) -> Option<String>) -> Vec<Off<'a>> {
    let off = |(key, wanted): (&'a str, &'a str)| {
        let value = read(key).map(|value| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        (value.as_deref() != Some(wanted)).then_some(Off { key, value, wanted })
    };
    settings(file).filter_map(off).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = include_str!("../../config/sysctl/server.conf");

    #[test]
    fn a_kernel_that_is_set_as_wanted_is_fine_and_each_other_value_is_told() {
        let as_wanted = |key: &str| settings(KIOSK).find(|(k, _)| *k == key).map(|(_, v)| v.replace(' ', "\t") + "\n");
        assert_eq!(compare(KIOSK, as_wanted), []);
        let key = "net.ipv4.tcp_congestion_control";
        let cubic = |k: &str| if k == key { Some("cubic\n".to_owned()) } else { as_wanted(k) };
        assert_eq!(compare(KIOSK, cubic), [Off { key, value: Some("cubic".to_owned()), wanted: "bbr" }]);
        let without = |k: &str| if k == key { None } else { as_wanted(k) };
        assert_eq!(compare(KIOSK, without), [Off { key, value: None, wanted: "bbr" }]);
    }

    #[test]
    fn every_setting_is_given_once_and_has_a_reason_above_it() {
        for (file, count) in [(KIOSK, 6), (SERVER, 8)] {
            let keys: Vec<&str> = settings(file).map(|(key, _)| key).collect();
            assert_eq!(keys.len(), count);
            assert!(keys.iter().all(|key| key.starts_with("net.ipv4.tcp_")), "{keys:?}");
            assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
            let groups = file.split("\n\n").skip(1);
            assert!(groups.into_iter().all(|group| group.trim_start().starts_with('#')), "a group without a reason");
        }
    }
}
