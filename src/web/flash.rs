//! One message carried over a redirect, in a sealed cookie that lives a minute: it costs no row and
//! nobody else can write one.

use crate::domain::refusal::Refusal;
use crate::secrets::Sealer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How a message looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashKind {
    Done,
    Info,
    Refused,
}

/// A message on the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    pub kind: FlashKind,
    pub text: String,
    /// A link that is shown this once, to copy.
    pub link: Option<String>,
}

/// Name of the cookie, before the prefix for TLS.
pub const COOKIE: &str = "flash";
const PLACE: &str = "cookie/flash";
const TEXT_MAX: usize = 1000;

impl Flash {
    pub fn done(text: impl Into<String>) -> Self {
        Self { kind: FlashKind::Done, text: text.into(), link: None }
    }

    pub fn info(text: impl Into<String>) -> Self {
        Self { kind: FlashKind::Info, text: text.into(), link: None }
    }

    pub fn refused(refusal: &Refusal) -> Self {
        Self { kind: FlashKind::Refused, text: refusal.text.clone(), link: None }
    }

    pub fn with_link(mut self, link: String) -> Self {
        self.link = Some(link);
        self
    }

    /// CSS class of the banner.
    pub fn class(&self) -> &'static str {
        match self.kind {
            FlashKind::Done => "banner-ok",
            FlashKind::Info => "banner-info",
            FlashKind::Refused => "banner-danger",
        }
    }

    /// The cookie's value.
    pub fn to_cookie(&self, sealer: &Sealer) -> Option<String> {
        let kind = match self.kind {
            FlashKind::Done => 'd',
            FlashKind::Info => 'i',
            FlashKind::Refused => 'r',
        };
        let text: String = self.text.chars().take(TEXT_MAX).collect();
        let link = self.link.as_deref().unwrap_or("");
        let sealed = sealer.seal(PLACE, format!("{kind}{link}\n{text}").as_bytes()).ok()?;
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Reads a cookie that we sealed.
    pub fn from_cookie(value: &str, sealer: &Sealer) -> Option<Self> {
        let opened = sealer.open(PLACE, &URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
        let text = std::str::from_utf8(&opened).ok()?;
        let kind = match text.chars().next()? {
            'd' => FlashKind::Done,
            'i' => FlashKind::Info,
            _ => FlashKind::Refused,
        };
        let (link, text) = text.get(1..)?.split_once('\n')?;
        let link = (!link.is_empty()).then(|| link.to_owned());
        Some(Self { kind, text: text.to_owned(), link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_cookie_and_a_forged_one_does_not() {
        let sealer = Sealer::from_key([7; 32]);
        let flash = Flash::done("“shop” was renamed");
        let cookie = flash.to_cookie(&sealer).unwrap();
        assert_eq!(Flash::from_cookie(&cookie, &sealer), Some(flash.clone()));
        let linked = flash.with_link("http://x/invite/t".into());
        let cookie = linked.to_cookie(&sealer).unwrap();
        assert_eq!(Flash::from_cookie(&cookie, &sealer), Some(linked));
        assert_eq!(Flash::from_cookie("d-forged", &sealer), None);
    }
}
