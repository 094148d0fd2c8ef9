//! The administrator's password on its way from the form to the server: checked, turned into a SCRAM
//! verifier at once, sealed beside the draft. The text itself goes no further than this file.

use super::create_form::CreateForm;
use crate::domain::ids::DraftId;
use crate::domain::names::check_admin_password;
use crate::domain::refusal::Refusal;
use crate::secrets::{Sealer, Secret, SecretError, scram_verifier};
use crate::web::form::Posted;

/// Names of the two fields.
pub const FIELD: &str = "admin_password";
pub const CONFIRM: &str = "admin_password_confirm";

/// How the password stands after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordState {
    /// A verifier is sealed beside the draft.
    Kept,
    Missing,
    /// Kept, but checked against another login than the form now has.
    LoginChanged,
    /// Typed now and not acceptable.
    Refused(Refusal),
}

impl PasswordState {
    /// How a draft's kept password stands.
    pub fn of(form: &CreateForm, is_sealed: bool) -> Self {
        match is_sealed {
            false => PasswordState::Missing,
            true if form.password_login == form.admin_login => PasswordState::Kept,
            true => PasswordState::LoginChanged,
        }
    }

    /// What is wrong, at its field.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            PasswordState::Kept => None,
            PasswordState::Missing => {
                Some(Refusal::at(FIELD, "Enter a password for the administrator."))
            }
            PasswordState::LoginChanged => Some(Refusal::at(
                FIELD,
                "The administrator login was changed after the password was typed. Type the password again.",
            )),
            PasswordState::Refused(refusal) => Some(refusal.clone()),
        }
    }
}

/// What the two fields hold: nothing, or a password that may be kept.
///
/// # Errors
/// A refusal at the field that is at fault.
pub fn typed(posted: &Posted, login: &str) -> Result<Option<Secret>, Refusal> {
    let (password, confirm) = (posted.secret(FIELD), posted.secret(CONFIRM));
    if password.reveal().is_empty() && confirm.reveal().is_empty() {
        return Ok(None);
    }
    check_admin_password(password.reveal(), login)?;
    if password.reveal() != confirm.reveal() {
        return Err(Refusal::at(CONFIRM, "The two passwords differ. Type both again."));
    }
    Ok(Some(password))
}

/// The sealed verifier of a password, bound to its draft.
///
/// # Errors
/// Never for values of this size.
pub fn seal(sealer: &Sealer, draft: &DraftId, password: &Secret) -> Result<Vec<u8>, SecretError> {
    sealer.seal(&place(draft), scram_verifier(password).reveal().as_bytes())
}

/// The verifier that was sealed beside a draft.
///
/// # Errors
/// When the master key is another one, or the row was tampered with.
pub fn open(sealer: &Sealer, draft: &DraftId, sealed: &[u8]) -> Result<Secret, SecretError> {
    let opened = sealer.open(&place(draft), sealed)?;
    let text = std::str::from_utf8(&opened).map_err(|_| SecretError::Sealed)?;
    Ok(Secret::new(text))
}

fn place(draft: &DraftId) -> String {
    format!("drafts/{draft}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(password: &str, confirm: &str) -> Posted {
        Posted::parse(format!("{FIELD}={password}&{CONFIRM}={confirm}").as_bytes()).unwrap()
    }

    #[test]
    fn a_password_counts_only_when_both_fields_agree_and_it_is_good() {
        assert!(typed(&fields("", ""), "ann").unwrap().is_none());
        assert_eq!(
            typed(&fields("Secret123", "Secret123"), "ann").unwrap().unwrap().reveal(),
            "Secret123"
        );
        assert_eq!(
            typed(&fields("Secret123", "secret123"), "ann").unwrap_err().field,
            Some(CONFIRM)
        );
        assert_eq!(typed(&fields("", "Secret123"), "ann").unwrap_err().field, Some(FIELD));
        assert_eq!(typed(&fields("short", "short"), "ann").unwrap_err().field, Some(FIELD));
        assert!(typed(&fields("Shopadmin123", "Shopadmin123"), "shopadmin").is_err());
    }

    #[test]
    fn a_verifier_opens_only_in_its_own_draft() {
        let sealer = Sealer::from_key([7; 32]);
        let draft = |end: &str| {
            DraftId::parse(&format!("01890a5d-ac96-774b-bcce-b302099a80{end}")).unwrap()
        };
        let sealed = seal(&sealer, &draft("57"), &Secret::new("Secret123")).unwrap();
        let opened = open(&sealer, &draft("57"), &sealed).unwrap();
        assert!(opened.reveal().starts_with("SCRAM-SHA-256$"));
        assert!(open(&sealer, &draft("58"), &sealed).is_err());
    }

    #[test]
    fn another_login_asks_for_the_password_again() {
        let form = CreateForm {
            admin_login: "b".into(),
            password_login: "a".into(),
            ..CreateForm::default()
        };
        assert_eq!(PasswordState::of(&form, true), PasswordState::LoginChanged);
        assert_eq!(PasswordState::of(&form, false), PasswordState::Missing);
        assert!(PasswordState::of(&CreateForm::default(), true).refusal().is_none());
    }
}
