//! Damage anywhere is always an error, and never a clean end.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use longshore_core::stage::Encrypt;
use longshore_core::stream::{ByteStream, collect};
use longshore_core::{Error, Kind, Stage};

use crate::support::{CHUNK, TestFolder, decrypter, encrypter_for, open, random_bytes, seal};

/// The size that encryption adds to a chunk.
const TAG: usize = 16;

/// Returns the offset of the payload: after the line of the header's MAC and the nonce.
fn payload_start(sealed: &[u8]) -> usize {
    let mac = sealed.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
    let line = sealed[mac..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    mac + line + 16
}

#[tokio::test]
async fn truncated_file_is_corrupt() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (encrypter, decrypter) = (encrypter_for(&recipient), decrypter(&[&identity]));
    for length in [0, 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1000] {
        let sealed = seal(&*encrypter, &random_bytes(length)).await;
        let payload = payload_start(&sealed);
        let mut cuts: Vec<_> = (0..payload).collect();
        for boundary in [0, 1, 2].map(|chunk| payload + chunk * (CHUNK + TAG)) {
            cuts.extend([boundary - 1, boundary, boundary + 1, boundary + TAG, boundary + TAG + 1]);
        }
        cuts.extend([sealed.len() - TAG - 1, sealed.len() - TAG, sealed.len() - 1]);
        cuts.retain(|cut| *cut < sealed.len());
        for cut in cuts {
            match open(&*decrypter, &sealed[..cut]).await {
                Ok(_) => panic!("{length} bytes truncated at {cut} of {} ended cleanly", sealed.len()),
                Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "truncated at {cut}: {}", error.chain()),
            }
        }
    }
}

#[tokio::test]
async fn truncated_armored_file_is_corrupt() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    for length in [0, CHUNK, CHUNK + 5] {
        let sealed = folder.age_seals(&["-a", "-r", &recipient], &random_bytes(length));
        // The last byte is an optional line feed.
        let needed = sealed.len() - 1;
        for cut in (0..400.min(needed)).chain(needed - 120..needed) {
            let Err(error) = open(&*decrypter, &sealed[..cut]).await else {
                panic!("{length} bytes truncated at {cut} of {} ended cleanly", sealed.len());
            };
            assert_eq!(error.kind(), Kind::Corrupt, "truncated at {cut}: {}", error.chain());
        }
    }
}

#[tokio::test]
async fn flipped_bit_in_payload_is_corrupt() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    let sealed = seal(&*encrypter_for(&recipient), &random_bytes(2 * CHUNK + 1000)).await;
    let payload = payload_start(&sealed);
    let end = sealed.len();
    for place in [
        payload - 16,
        payload - 1,
        payload,
        payload + CHUNK - 1,
        payload + CHUNK,
        payload + CHUNK + TAG,
        end - TAG - 1,
        end - 1,
    ] {
        let mut changed = sealed.clone();
        changed[place] ^= 0x10;
        let error = open(&*decrypter, &changed).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "at {place}: {}", error.chain());
    }
}

#[tokio::test]
async fn flipped_bit_in_header_is_rejected() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    let sealed = seal(&*encrypter_for(&recipient), b"cargo").await;
    for place in 0..payload_start(&sealed) {
        let mut changed = sealed.clone();
        changed[place] ^= 0x01;
        // A modified recipient stanza is indistinguishable from another recipient's.
        let error = open(&*decrypter, &changed).await.unwrap_err();
        let is_known = matches!(error.kind(), Kind::Corrupt | Kind::Denied);
        assert!(is_known, "at {place}: {}", error.chain());
    }
}

#[tokio::test]
async fn added_removed_or_swapped_bytes_are_corrupt() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (encrypter, decrypter) = (encrypter_for(&recipient), decrypter(&[&identity]));
    let sealed = seal(&*encrypter, &random_bytes(3 * CHUNK)).await;
    let payload = payload_start(&sealed);
    let chunk = |number: usize| &sealed[payload + number * (CHUNK + TAG)..payload + (number + 1) * (CHUNK + TAG)];
    let head = &sealed[..payload];
    for (damage, changed) in [
        ("a byte added", [&sealed[..], &b"x"[..]].concat()),
        ("a file added", [&sealed[..], &sealed[..]].concat()),
        ("the last chunk twice", [&sealed[..], chunk(2)].concat()),
        ("a chunk removed", [head, chunk(0), chunk(2)].concat()),
        ("chunks swapped", [head, chunk(1), chunk(0), chunk(2)].concat()),
        ("another kind of file", random_bytes(1000)),
        ("only the first line of the header", b"age-encryption.org/v1\n".to_vec()),
        ("a future version", b"age-encryption.org/v9\n-> X25519 a\n--- b\n".to_vec()),
    ] {
        let error = open(&*decrypter, &changed).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{damage}: {}", error.chain());
    }
}

#[tokio::test]
async fn endless_header_takes_bounded_memory() {
    let folder = TestFolder::new();
    let (identity, _) = folder.identity("key.txt");
    for endless in ["A".repeat(1 << 20), format!("-> X25519 {}\n", "A".repeat(43)).repeat(1 << 14)] {
        let endless = stream::repeat_with(move || Ok(Bytes::from(endless.clone())));
        let begin = stream::iter([Ok(Bytes::from("age-encryption.org/v1\n-> "))]);
        let ciphertext: ByteStream = begin.chain(endless).boxed();
        let opened = decrypter(&[&identity]).decrypt(ciphertext, "appdb").await.unwrap();
        let error = collect(opened, 1 << 20, Stage::Decrypt, "").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{}", error.chain());
    }
}

#[tokio::test]
async fn wrong_identity_is_denied_with_fingerprints() {
    let folder = TestFolder::new();
    let (_, recipient) = folder.identity("right");
    let (wrong, wrong_recipient) = folder.identity("wrong");
    let sealed = seal(&*encrypter_for(&recipient), b"cargo").await;
    let error = open(&*decrypter(&[&wrong]), &sealed).await.unwrap_err();
    assert_eq!((error.stage(), error.kind()), (Stage::Decrypt, Kind::Denied));
    assert!(error.to_string().contains("none of the identities"), "{error}");
    let given = &encrypter_for(&wrong_recipient).recipients()[0];
    assert!(error.remedy().unwrap().contains(given), "{:?}", error.remedy());

    let error = open(&*decrypter(&[]), &sealed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
}

fn interrupted(begin: Vec<u8>) -> ByteStream {
    let lost = Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost");
    stream::iter([Ok(Bytes::from(begin)), Err(lost)]).boxed()
}

/// Returns the bytes before the error, and the error.
async fn read_until_error(mut stream: ByteStream) -> (Vec<u8>, Error) {
    let mut bytes = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                assert!(stream.next().await.is_none(), "the stream continued after an error");
                return (bytes, error);
            }
        }
    }
    panic!("an interrupted stream ended cleanly");
}

#[tokio::test]
async fn interrupted_dump_yields_no_complete_file() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let encrypter: Box<dyn Encrypt> = encrypter_for(&recipient);
    for length in [0, 1, CHUNK, 8 * CHUNK, 20 * CHUNK + 1] {
        let (sealed, error) = read_until_error(encrypter.encrypt(interrupted(random_bytes(length)), "appdb")).await;
        assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable));
        assert_eq!(error.to_string(), "dump \"appdb\": connection lost");
        assert!(folder.age_opens(&identity, &sealed).is_err(), "{length} bytes");
        assert!(open(&*decrypter(&[&identity]), &sealed).await.is_err(), "{length} bytes");
    }
}

#[tokio::test]
async fn interrupted_fetch_keeps_its_error() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    let sealed = seal(&*encrypter_for(&recipient), &random_bytes(3 * CHUNK)).await;
    let armored = folder.age_seals(&["-a", "-r", &recipient], &random_bytes(3 * CHUNK));
    for whole in [sealed, armored] {
        for length in [1, 100, 300, CHUNK, whole.len()] {
            let ciphertext = interrupted(whole[..length].to_vec());
            let (_, error) = read_until_error(decrypter.decrypt(ciphertext, "appdb").await.unwrap()).await;
            assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable), "{length}: {}", error.chain());
        }
    }
}
