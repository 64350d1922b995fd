//! What every postier runtime shares and is not pure.
