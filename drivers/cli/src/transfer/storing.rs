//! A file on its way into a store.

use sha2::{Digest, Sha256};

use super::protocol::{HASH_LEN, Verdict, VerdictCode};
use super::store::Incoming;

#[derive(Debug)]
pub(super) struct Storing {
    pub(super) name: String,
    /// What the sender says.
    pub(super) size: u64,
    stored: u64,
    hash: Sha256,
    file: Box<dyn Incoming>,
}

impl Storing {
    pub(super) fn new(name: &str, size: u64, file: Box<dyn Incoming>) -> Self {
        Self { name: name.to_owned(), size, stored: 0, hash: Sha256::new(), file }
    }

    pub(super) fn add(&mut self, content: &[u8]) -> Result<(), Verdict> {
        self.stored = self.stored.saturating_add(content.len() as u64);
        if self.stored > self.size {
            return Err(Verdict::new(VerdictCode::Mismatch, "there was more content than announced"));
        }
        self.hash.update(content);
        self.file
            .write(content)
            .map_err(|e| Verdict::new(VerdictCode::Storage, format!("the receiver could not store it: {e}")))
    }

    pub(super) fn finish(self, size: u64, hash: &[u8; HASH_LEN]) -> Result<(), Verdict> {
        if self.stored != size || size != self.size {
            return Err(Verdict::new(VerdictCode::Mismatch, "the length is not what the sender said"));
        }
        let computed: [u8; HASH_LEN] = self.hash.finalize().into();
        if computed != *hash {
            return Err(Verdict::new(VerdictCode::Mismatch, "the SHA-256 is not what the sender said"));
        }
        self.file.commit()
    }
}
