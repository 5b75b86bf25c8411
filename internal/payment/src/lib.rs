//! Wallets, card charges and the double-entry ledger
