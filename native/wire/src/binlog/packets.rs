//! Packets of the protocol, as far as they carry events.
