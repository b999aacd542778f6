//! `age1tag1…` recipients: keys on the curve P-256, which hardware and key services hold. The age
//! crate has no identity for them, so the holder of the key is part of this test.

use std::io::Read;
use std::iter;

use age_core::format::{FileKey, Stanza};
use age_core::primitives::{bech32_encode, hpke_open};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::Hrp;
use hpke::{Deserializable, Kem as _, Serializable};

use crate::header::{rekey, spliced};
use crate::support::{TestFolder, decrypter, encrypter_for, seal};

type Kem = hpke::kem::DhP256HkdfSha256;

/// The holder of a secret key.
struct KeyHolder(<Kem as hpke::Kem>::PrivateKey);

impl age::Identity for KeyHolder {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != "p256tag" {
            return None;
        }
        let point = BASE64_STANDARD_NO_PAD.decode(&stanza.args[1]).unwrap();
        let point = <Kem as hpke::Kem>::EncappedKey::from_bytes(&point).unwrap();
        // One Diffie-Hellman operation with the secret key, which a key service performs.
        let key = hpke_open::<Kem>(&point, &self.0, b"age-encryption.org/p256tag", &stanza.body).ok()?;
        Some(Ok(FileKey::init_with_mut(|copy| copy.copy_from_slice(&key))))
    }
}

impl KeyHolder {
    /// Creates a key. Returns its holder and its recipient.
    fn new(seed: &[u8; 32]) -> (Self, String) {
        let (secret, public) = Kem::derive_keypair(seed);
        let point = public.to_bytes();
        let parity = if point[64] & 1 == 0 { 2 } else { 3 };
        let compressed: Vec<u8> = iter::once(parity).chain(point[1..33].iter().copied()).collect();
        (Self(secret), bech32_encode(Hrp::parse("age1tag").unwrap(), &compressed))
    }

    fn open(&self, file: &[u8]) -> Result<Vec<u8>, age::DecryptError> {
        let mut plaintext = Vec::new();
        let decryptor = age::Decryptor::new_buffered(file)?;
        decryptor.decrypt(iter::once(self as &dyn age::Identity))?.read_to_end(&mut plaintext)?;
        Ok(plaintext)
    }
}

#[tokio::test]
async fn holder_of_a_p256_key_opens_files_and_headers() {
    let folder = TestFolder::new();
    let (holder, recipient) = KeyHolder::new(&[7; 32]);
    let (stranger, _) = KeyHolder::new(&[8; 32]);
    assert!(recipient.starts_with("age1tag1"), "{recipient}");
    let sealed = seal(&*encrypter_for(&recipient), b"cargo").await;
    assert_eq!(holder.open(&sealed).unwrap(), b"cargo");
    assert!(stranger.open(&sealed).is_err());

    let (old, old_recipient) = folder.identity("old");
    let reader = decrypter(&[&old]);
    let sealed = seal(&*encrypter_for(&old_recipient), b"freight").await;
    assert!(holder.open(&sealed).is_err());
    let header = rekey(&*reader, &*encrypter_for(&recipient), &sealed).await.unwrap();
    assert_eq!(holder.open(&spliced(&*reader, &header, &sealed)).unwrap(), b"freight");
}
