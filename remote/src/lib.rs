//! A blocking client for any git remote over smart HTTP(S): what it offers, its refs, packs, sizes of objects.
//!
//! In go URLs and ids, out come refs and the bytes of packs as they arrive. gix speaks the protocol; HTTP, names, addresses,
//! redirects, credentials and limits are ours. Memory is bounded by `limits`, whatever the remote sends.

#![deny(missing_docs)]

mod address;
mod error;
mod fetch;
mod http;
pub mod limits;
mod options;
mod refs;
mod session;
mod sizes;
mod status;
mod url;

pub use address::{is_odd_literal, is_public};
pub use error::{Class, RemoteError};
pub use fetch::{FetchWish, Fetched};
pub use options::{AddressPolicy, Credentials, Options};
pub use refs::RemoteRef;
pub use session::{Capabilities, Remote, Stopper};
pub use url::split_credentials;
