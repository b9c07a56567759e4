//! Signet's certificate authority: root, issuers, leaves and the issuance ledger
