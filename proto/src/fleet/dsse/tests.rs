use proptest::prelude::*;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trusted(seed: u8) -> TrustedKey {
    TrustedKey::new(key(seed).verifying_key(), None).unwrap()
}

fn signed(seeds: &[u8]) -> Envelope {
    let keys: Vec<SigningKey> = seeds.iter().map(|seed| key(*seed)).collect();
    sign(PayloadType::Desired, br#"{"a":1}"#, &keys.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_encoding_is_that_of_the_specification() {
    let text = String::from_utf8(encoding(PayloadType::Desired, b"hello world")).unwrap();
    assert_eq!(text, "DSSEv1 41 application/vnd.branch-kiosk.desired+json 11 hello world");
}

#[test]
fn an_envelope_as_it_travels() {
    let envelope = signed(&[1]);
    insta::assert_snapshot!(String::from_utf8(envelope.to_bytes().unwrap()).unwrap());
    assert_eq!(Envelope::parse(&envelope.to_bytes().unwrap()), Ok(envelope));
}

#[test]
fn each_trusted_key_counts_once_and_others_not_at_all() {
    let signers = |envelope: Envelope, keys: &[u8]| {
        let keys: Vec<TrustedKey> = keys.iter().map(|seed| trusted(*seed)).collect();
        envelope.verify(PayloadType::Desired, &keys).map(|verified| verified.signers.len())
    };
    assert_eq!(signers(signed(&[1, 2]), &[1, 2, 3]), Ok(2));
    assert_eq!(signers(signed(&[1, 1]), &[1, 2, 3]), Ok(1));
    assert_eq!(signers(signed(&[1, 9]), &[1, 2, 3]), Ok(1));
    assert_eq!(signers(signed(&[9]), &[1, 2, 3]), Err(EnvelopeError::UnknownKey(vec![trusted(9).id()])));
    assert!(matches!(signers(signed(&[1]), &[]), Err(EnvelopeError::UnknownKey(_))));
}

#[test]
fn a_changed_payload_a_borrowed_key_id_and_another_type_are_refused() {
    let keys = [trusted(1), trusted(2)];
    let verify = |envelope: &Envelope| envelope.verify(PayloadType::Desired, &keys);
    let mut changed = signed(&[1]);
    changed.payload = STANDARD.encode(br#"{"a":2}"#);
    assert_eq!(verify(&changed), Err(EnvelopeError::WrongSignature(trusted(1).id())));

    let mut borrowed = signed(&[9]);
    borrowed.signatures[0].keyid = trusted(1).id();
    assert_eq!(verify(&borrowed), Err(EnvelopeError::WrongSignature(trusted(1).id())));

    // One good signature does not make up for a wrong one.
    let mut half = signed(&[1, 2]);
    half.signatures[1].sig = half.signatures[0].sig.clone();
    assert_eq!(verify(&half), Err(EnvelopeError::WrongSignature(trusted(2).id())));

    let mut command = signed(&[1]);
    assert!(matches!(command.verify(PayloadType::Command, &keys), Err(EnvelopeError::WrongType { .. })));
    command.payload_type = PayloadType::Command;
    assert_eq!(
        command.verify(PayloadType::Command, &keys),
        Err(EnvelopeError::WrongSignature(trusted(1).id())),
        "the type is part of what is signed"
    );
}

#[test]
fn what_is_no_envelope_is_refused() {
    let good = String::from_utf8(signed(&[1]).to_bytes().unwrap()).unwrap();
    for bad in [
        String::new(),
        "{}".into(),
        good.replace("\"signatures\"", "\"more\":1,\"signatures\""),
        good.replace("\"signatures\"", "\"payload\":\"\",\"signatures\""),
        good.replace("desired+json", "other+json"),
        format!("{good} 1"),
        serde_json::to_string(&Envelope { signatures: Vec::new(), ..signed(&[1]) }).unwrap(),
        serde_json::to_string(&signed(&[1, 1, 1, 1, 1, 1, 1, 1]))
            .unwrap()
            .replace("\"signatures\":[", "\"signatures\":[{\"keyid\":\"\",\"sig\":\"\"},"),
    ] {
        assert!(matches!(Envelope::parse(bad.as_bytes()), Err(EnvelopeError::Malformed(_))), "{bad}");
    }
    let large = vec![b' '; MAX_ENVELOPE_BYTES + 1];
    assert!(matches!(Envelope::parse(&large), Err(EnvelopeError::TooLarge { .. })));
    assert!(sign(PayloadType::Desired, &large, &[&key(1)]).is_err());
    assert!(sign(PayloadType::Desired, b"{}", &[]).is_err());
}

#[test]
fn the_largest_payload_fits_into_the_largest_envelope() {
    let keys: Vec<SigningKey> = (1..=8).map(key).collect();
    let payload = vec![b'x'; MAX_PAYLOAD_BYTES];
    let envelope = sign(PayloadType::Command, &payload, &keys.iter().collect::<Vec<_>>()).unwrap();
    let bytes = envelope.to_bytes().unwrap();
    let most = crate::fleet::MAX_PACKET_BYTES;
    assert!(crate::fleet::fits("desired", bytes.len(), most));
    assert!(!crate::fleet::fits("desired", most as usize - 1024, most));
    assert_eq!(Envelope::parse(&bytes), Ok(envelope));
}

proptest! {
    /// Every bit of payload and signature matters.
    #[test]
    fn no_bit_can_be_flipped(payload in proptest::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>()) {
        let envelope = sign(PayloadType::Desired, &payload, &[&key(1)]).unwrap();
        prop_assert_eq!(&envelope.verify(PayloadType::Desired, &[trusted(1)]).unwrap().payload, &payload);

        let flip = |encoded: &str| {
            let mut bytes = STANDARD.decode(encoded).unwrap();
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            STANDARD.encode(bytes)
        };
        let mut other = envelope.clone();
        other.payload = flip(&envelope.payload);
        prop_assert!(other.verify(PayloadType::Desired, &[trusted(1)]).is_err());
        let mut other = envelope.clone();
        other.signatures[0].sig = flip(&envelope.signatures[0].sig);
        prop_assert!(other.verify(PayloadType::Desired, &[trusted(1)]).is_err());
    }
}
