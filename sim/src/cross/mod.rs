//! Cross traffic: models of other senders.
