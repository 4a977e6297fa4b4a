//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem), for providers that do not bring it.
//!
//! Recorded DNS can be kept until somebody has a quantum computer. The secret of this exchange is safe while either half
//! of it is: X25519 as the provider does it, and ML-KEM-768 (FIPS 203).

use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey};
use libcrux_ml_kem::{ENCAPS_SEED_SIZE, KEY_GENERATION_SEED_SIZE};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// Octets of a client's key for ML-KEM-768, and of a server's ciphertext.
const KEY: usize = 1184;
const CIPHERTEXT: usize = 1088;

/// Where both ends are wrong about what a share is.
const INVALID: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// The group, with *ring*'s X25519.
pub static X25519MLKEM768: &dyn SupportedKxGroup = &Hybrid;

#[derive(Debug)]
struct Hybrid;

fn x25519() -> &'static dyn SupportedKxGroup {
    rustls::crypto::ring::kx_group::X25519
}

impl SupportedKxGroup for Hybrid {
    /// A client's half.
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = x25519().start()?;
        let (private, public) =
            mlkem768::generate_key_pair(random::<KEY_GENERATION_SEED_SIZE>()?).into_parts();
        Ok(Box::new(Started {
            share: [public.as_ref(), classical.pub_key()].concat(),
            classical,
            private: Box::new(private),
        }))
    }

    /// A server's half.
    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (key, classical_share) = share.split_at_checked(KEY).ok_or(INVALID)?;
        let key = MlKem768PublicKey::try_from(key).map_err(|_| INVALID)?;
        // FIPS 203 §7.2: a key with coefficients out of range is to be refused.
        if !mlkem768::validate_public_key(&key) {
            return Err(INVALID);
        }
        let classical = x25519().start_and_complete(classical_share)?;
        let (ciphertext, secret) = mlkem768::encapsulate(&key, random::<ENCAPS_SEED_SIZE>()?);
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [ciphertext.as_ref(), &classical.pub_key].concat(),
            secret: join(&secret, &classical.secret),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Started {
    classical: Box<dyn ActiveKeyExchange>,
    private: Box<MlKem768PrivateKey>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, classical) = share.split_at_checked(CIPHERTEXT).ok_or(INVALID)?;
        let ciphertext = MlKem768Ciphertext::try_from(ciphertext).map_err(|_| INVALID)?;
        let classical = self.classical.complete(classical)?;
        // A ciphertext that was not made for this key gives a secret that nobody else has (FIPS 203 §6.3).
        let secret = mlkem768::decapsulate(&self.private, &ciphertext);
        Ok(join(&secret, &classical))
    }

    // The same X25519 key stands beside the hybrid share, for servers that know no other.
    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classical.group(), self.classical.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.classical.complete(share)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

/// ML-KEM's secret stands first (draft-ietf-tls-ecdhe-mlkem §4.1).
fn join(post_quantum: &[u8], classical: &SharedSecret) -> SharedSecret {
    [post_quantum, classical.secret_bytes()].concat().into()
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut seed = [0; N];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| GetRandomFailed)?;
    Ok(seed)
}
