//! What a file says of the calibration that it was made with.

use super::{Error, sha256};
use crate::gguf::File;
use crate::plan::Plan;
use std::path::Path;

/// The key of the sha256 of the calibration, as hexadecimal digits.
pub const CALIBRATION_KEY: &str = "tenpak.calibration.sha256";

/// A plan whose file names the calibration that it is made with, if there is one. It is not cut yet: the first part has the key.
pub fn with_calibration(plan: &Plan, calibration: Option<&Path>) -> Result<Plan, Error> {
    let Some(calibration) = calibration else { return Ok(plan.clone()) };
    let io = |source| Error::Io { path: calibration.to_owned(), source };
    let (_, sha256) = sha256::of_file(calibration).map_err(io)?;
    Ok(plan.clone().with_key(CALIBRATION_KEY, sha256.as_str().into()))
}

/// The same for a calibration that is not there yet or need not be read: a plan of the same size.
pub(super) fn with_any_calibration(plan: &Plan) -> Plan {
    plan.clone().with_key(CALIBRATION_KEY, "0".repeat(64).as_str().into())
}

/// A plan whose file says the same of its calibration as that of another plan.
pub(super) fn as_in(other: &Plan, plan: Plan) -> Plan {
    match other.keys.iter().find(|(key, _)| key == CALIBRATION_KEY) {
        Some((key, value)) => plan.with_key(key, value.clone()),
        None => plan,
    }
}

/// sha256 of the calibration that a file was made with, if the file says it.
pub fn calibration_of(file: &File) -> Option<&str> {
    file.key(CALIBRATION_KEY)?.as_str()
}
