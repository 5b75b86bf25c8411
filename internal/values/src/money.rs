#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code, such as `EUR`. Every currency here has two decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro, the platform's default.
    pub const EUR: Self = Self(*b"EUR");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::NoCurrency(text.chars().take(16).collect())),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in minor units (cents) of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; may be negative in a ledger.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why an amount cannot be formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three capital letters.
    #[error("{0:?} is no currency code such as EUR")]
    NoCurrency(String),
    /// Two currencies in one sum.
    #[error("{0} and {1} cannot be added")]
    Mixed(Currency, Currency),
    /// Outside of 64 bits.
    #[error("the amount is out of range")]
    Overflow,
    /// A part smaller than a minor unit, or units and nanos of different sign.
    #[error("{0} nanos are no whole number of minor units, or have another sign than the units")]
    SubMinor(i32),
}

impl Money {
    /// An amount of `minor` units of `currency`.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// The sum.
    ///
    /// # Errors
    /// `Mixed`: two currencies. `Overflow`: outside of 64 bits.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let minor = self
            .minor
            .checked_add(other.minor)
            .ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// `quantity` times the amount.
    ///
    /// # Errors
    /// `Overflow`: outside of 64 bits.
    pub fn times(self, quantity: i64) -> Result<Self, MoneyError> {
        let minor = self
            .minor
            .checked_mul(quantity)
            .ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Whole units and billionths, as in `google.type.Money`.
    #[must_use]
    pub fn to_units_and_nanos(self) -> (i64, i32) {
        let units = self.minor.checked_div(100).unwrap_or_default();
        let cents = i32::try_from(self.minor.checked_rem(100).unwrap_or_default());
        (units, cents.unwrap_or_default().saturating_mul(10_000_000))
    }

    /// The amount of whole units and billionths, as in `google.type.Money`.
    ///
    /// # Errors
    /// `SubMinor`: the nanos are no whole cents, or of another sign. `Overflow`: outside of 64 bits.
    pub fn from_units_and_nanos(
        units: i64,
        nanos: i32,
        currency: Currency,
    ) -> Result<Self, MoneyError> {
        let opposed = (units > 0 && nanos < 0) || (units < 0 && nanos > 0);
        let (Some(0), Some(cents)) = (nanos.checked_rem(10_000_000), nanos.checked_div(10_000_000))
        else {
            return Err(MoneyError::SubMinor(nanos));
        };
        if opposed || !(-99..=99).contains(&cents) {
            return Err(MoneyError::SubMinor(nanos));
        }
        let minor = units
            .checked_mul(100)
            .and_then(|whole| whole.checked_add(i64::from(cents)));
        Ok(Self {
            minor: minor.ok_or(MoneyError::Overflow)?,
            currency,
        })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let (units, nanos) = self.to_units_and_nanos();
        let cents = nanos
            .unsigned_abs()
            .checked_div(10_000_000)
            .unwrap_or_default();
        write!(
            f,
            "{sign}{}.{cents:02} {}",
            units.unsigned_abs(),
            self.currency
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nanos_below_a_cent_are_refused() {
        let nanos = |units, nanos| Money::from_units_and_nanos(units, nanos, Currency::EUR);
        assert_eq!(nanos(19, 990_000_000), Ok(Money::new(1999, Currency::EUR)));
        assert_eq!(nanos(0, 1), Err(MoneyError::SubMinor(1)));
        assert_eq!(
            nanos(1, -10_000_000),
            Err(MoneyError::SubMinor(-10_000_000))
        );
        assert_eq!(nanos(i64::MAX, 0), Err(MoneyError::Overflow));
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(Money::new(-5, Currency::EUR).to_string(), "-0.05 EUR");
        assert_eq!(
            Money::new(123_456, Currency::EUR).to_string(),
            "1234.56 EUR"
        );
    }

    proptest! {
        #[test]
        fn the_wire_form_keeps_every_amount(minor in any::<i64>()) {
            let money = Money::new(minor, Currency::EUR);
            let (units, nanos) = money.to_units_and_nanos();
            prop_assert_eq!(Money::from_units_and_nanos(units, nanos, Currency::EUR), Ok(money));
        }
    }
}
