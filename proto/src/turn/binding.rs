//! STUN's own question: as whom does the other end see this one (RFC 8489 section 2)? A call over TCP needs no answer to it.

use std::net::{IpAddr, SocketAddr};

use super::message::{HEADER_BYTES, MAGIC_COOKIE, Message, Request};

const BINDING: u16 = 0x001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// The question; `transaction` is random.
#[must_use]
pub fn binding(transaction: [u8; 12]) -> Vec<u8> {
    Request::new(BINDING, &transaction).bytes()
}

/// The address in a whole message, if that answers the question.
#[must_use]
pub fn mapped(bytes: &[u8], transaction: [u8; 12]) -> Option<SocketAddr> {
    let message = Message::parse(bytes).ok()?;
    if message.method() != BINDING || !message.is_success() || message.transaction() != transaction {
        return None;
    }
    let [_, family, high, low, ip @ ..] = message.attribute(XOR_MAPPED_ADDRESS)? else { return None };
    let mask = [MAGIC_COOKIE.to_be_bytes().as_slice(), bytes.get(8..HEADER_BYTES)?].concat();
    let plain: Vec<u8> = ip.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
    let port = u16::from_be_bytes([high ^ mask.first()?, low ^ mask.get(1)?]);
    let ip = match (family, ip.len()) {
        (1, 4) => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
        (2, 16) => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 12] = *b"transaction1";

    fn answer(kind: u16, address: &str) -> Vec<u8> {
        Request::new(kind, &ID).with_address(XOR_MAPPED_ADDRESS, address.parse().unwrap()).bytes()
    }

    #[test]
    fn the_address_is_read_as_it_was_written() {
        assert_eq!(&binding(ID)[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        for address in ["192.0.2.7:50001", "[2001:db8::7]:443"] {
            assert_eq!(mapped(&answer(0x101, address), ID), address.parse().ok());
        }
    }

    #[test]
    fn what_answers_something_else_is_no_answer() {
        let good = answer(0x101, "192.0.2.7:50001");
        assert_eq!(mapped(&good, *b"transaction2"), None);
        assert_eq!(mapped(&answer(0x111, "192.0.2.7:50001"), ID), None, "an error");
        assert_eq!(mapped(&answer(0x103, "192.0.2.7:50001"), ID), None, "an allocation");
        assert_eq!(mapped(&Request::new(0x101, &ID).bytes(), ID), None);
        assert_eq!(
            mapped(&Request::new(0x101, &ID).with(XOR_MAPPED_ADDRESS, &[0, 2, 1, 1, 1, 1, 1, 1]).bytes(), ID),
            None
        );
        assert!((0..good.len()).all(|end| mapped(&good[..end], ID).is_none()));
    }
}
