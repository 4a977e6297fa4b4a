//! Session tickets (RFC 8446 §4.6.1, RFC 5077) that nobody has to remember: a client's session, sealed with keys that
//! change, and that outlive a restart.
//!
//! Whoever steals the keys can pretend to be this server towards clients that resume, until the keys are gone. Sessions
//! of TLS 1.3 that were recorded stay secret, for rustls resumes with a fresh key exchange only (`psk_dhe_ke`). TLS 1.2
//! has no such thing: there a stolen key opens the recorded sessions whose tickets it sealed.

use std::{fmt, path::Path, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use rustls::server::ProducesTickets;
use zzdot_zonegen::clock::UnixTime;

use super::ticket_file::{self, TicketFileError};

/// How long a ticket can be used, in seconds: until tomorrow's evening, for a device that is switched on once a day. RFC
/// 8446 allows a week; every hour more is an hour more in which stolen keys are of use.
pub const LIFETIME: u32 = 24 * 3600;
/// How long a key seals tickets, in seconds.
pub const TURN: u64 = 6 * 3600;
/// A key opens tickets for so many seconds.
const AGE_MAX: u64 = TURN + LIFETIME as u64;
/// The key that seals, and those whose tickets can still be used: no more, so that a key from a wrong future is pushed out.
pub const KEYS_MAX: usize = 1 + LIFETIME as usize / TURN as usize;

/// No ticket of ours is longer: a session without certificates of the client, with the longest name.
const TICKET_MAX: usize = 1024;
const NAME_LEN: usize = 16;
const SECRET_LEN: usize = 32;

/// What makes a key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySeed {
    /// By which the ticket names it.
    pub name: [u8; NAME_LEN],
    /// For ChaCha20-Poly1305.
    pub secret: [u8; SECRET_LEN],
    /// When it began to seal.
    pub born: UnixTime,
}

/// Which keys there are: the latest first, which seals; all of them open. Without IO.
#[derive(Default)]
pub struct Keys(Vec<(KeySeed, LessSafeKey)>);

impl Keys {
    /// These, the latest first.
    #[must_use]
    pub fn new(seeds: impl IntoIterator<Item = KeySeed>) -> Self {
        let keys = seeds.into_iter().take(KEYS_MAX).map(|seed| {
            let key = UnboundKey::new(&CHACHA20_POLY1305, &seed.secret)
                .expect("a secret has the length of a key");
            (seed, LessSafeKey::new(key))
        });
        Self(keys.collect())
    }

    /// What makes them, the latest first.
    pub fn seeds(&self) -> impl ExactSizeIterator<Item = &KeySeed> {
        self.0.iter().map(|(seed, _)| seed)
    }

    /// Whether another key has to seal from `now` on. A key from the future does not seal: it would do so until then.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        !self
            .seeds()
            .next()
            .is_some_and(|key| key.born <= now && now.0 - key.born.0 < TURN)
    }

    /// The keys from `now` on, with `fresh` to seal. Those too old to be of use are gone; those that come from the future
    /// of a clock that was wrong, or is yet, are so when they have been pushed out.
    #[must_use]
    pub fn turned(&self, now: UnixTime, fresh: KeySeed) -> Self {
        let young = |key: &&KeySeed| now.0.saturating_sub(key.born.0) < AGE_MAX;
        Self::new(std::iter::once(fresh).chain(self.seeds().filter(young).cloned()))
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], session: &[u8]) -> Option<Vec<u8>> {
        let (seed, key) = self.0.first()?;
        let length = NAME_LEN + NONCE_LEN + session.len() + CHACHA20_POLY1305.tag_len();
        let mut ticket = Vec::with_capacity(length);
        ticket.extend_from_slice(&seed.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(session);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let secret = &mut ticket[NAME_LEN + NONCE_LEN..];
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(seed.name), secret)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        // The name is no secret: it stands in every ticket. What has to take the same time is the AEAD's affair.
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (seed, key) = self.0.iter().find(|(seed, _)| seed.name == *name)?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut session = sealed.to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(seed.name), &mut session)
            .ok()?
            .len();
        session.truncate(length);
        Some(session)
    }
}

/// Seals and opens tickets for all workers at once.
pub struct Tickets {
    keys: ArcSwap<Keys>,
    place: Option<Place>,
    random: SystemRandom,
}

/// Where the keys are kept, and for whom.
struct Place {
    path: PathBuf,
    spki: ArcSwap<[u8; 32]>,
}

/// The system gave no random octets.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

impl Tickets {
    /// With keys that end with the process.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn in_memory(now: UnixTime) -> Result<Arc<Self>, NoRandomness> {
        Self::with(Keys::default(), None, now)
    }

    /// With the keys that are kept in the file `path` for the identity whose key has this digest. They are of use to
    /// nobody else. A file that cannot be read, that others may read, or that is another identity's is replaced: what is
    /// lost are a few full handshakes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn open(path: &Path, spki: [u8; 32], now: UnixTime) -> Result<Arc<Self>, NoRandomness> {
        let keys = match ticket_file::load(path, &spki) {
            Ok(seeds) => Keys::new(seeds),
            Err(TicketFileError::Missing) => Keys::default(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "ticket keys not used; there are new ones");
                Keys::default()
            }
        };
        let place = Place {
            path: path.to_owned(),
            spki: ArcSwap::from_pointee(spki),
        };
        Self::with(keys, Some(place), now)
    }

    fn with(keys: Keys, place: Option<Place>, now: UnixTime) -> Result<Arc<Self>, NoRandomness> {
        let tickets = Self {
            keys: ArcSwap::from_pointee(keys),
            place,
            random: SystemRandom::new(),
        };
        tickets.turn(now)?;
        Ok(Arc::new(tickets))
    }

    /// Takes a new key when that is due, and forgets what is too old. To be called every now and then; costs nothing in
    /// between. Returns whether there is a new key.
    ///
    /// # Errors
    /// [`NoRandomness`]: the keys stay.
    pub fn turn(&self, now: UnixTime) -> Result<bool, NoRandomness> {
        let keys = self.keys.load();
        if !keys.is_due(now) {
            return Ok(false);
        }
        let keys = keys.turned(now, self.fresh(now)?);
        self.put(keys);
        Ok(true)
    }

    /// Forgets all keys for a new one: the certificate's key is another now, and its digest `spki`. Whoever stole the old
    /// one may have these keys, too; and a session resumed would prove the old one.
    ///
    /// # Errors
    /// [`NoRandomness`]: the keys stay.
    pub fn start_anew(&self, spki: [u8; 32], now: UnixTime) -> Result<(), NoRandomness> {
        let fresh = self.fresh(now)?;
        if let Some(place) = &self.place {
            place.spki.store(Arc::new(spki));
        }
        self.put(Keys::new([fresh]));
        Ok(())
    }

    fn fresh(&self, now: UnixTime) -> Result<KeySeed, NoRandomness> {
        Ok(KeySeed {
            name: self.draw()?,
            secret: self.draw()?,
            born: now,
        })
    }

    fn put(&self, keys: Keys) {
        let keys = Arc::new(keys);
        self.keys.store(Arc::clone(&keys));
        if let Some(place) = &self.place
            && let Err(error) = ticket_file::save(&place.path, &place.spki.load(), keys.seeds())
        {
            let file = place.path.display();
            tracing::warn!(%file, %error, "ticket keys not saved; they end with the process");
        }
    }

    fn draw<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut octets = [0; N];
        self.random.fill(&mut octets).map_err(|_| NoRandomness)?;
        Ok(octets)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        // Drawn, for a counter would tell how many handshakes there are. With a hundred million tickets of one key the
        // chance that two nonces are the same is 2^-43.
        self.keys.load().seal(self.draw().ok()?, session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.load().open(ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.load().0.len())
    }
}

#[cfg(test)]
mod tests;
