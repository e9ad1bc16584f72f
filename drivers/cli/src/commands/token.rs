//! `rtmfp token`

use rtmfp_server::Tokens;

use super::password::{fresh, write_secret};
use crate::args::Token;
use crate::failure::Failure;
use crate::output;

pub(super) fn run(args: &Token) -> Result<(), Failure> {
    let token = fresh()?;
    write_secret(&args.file, &format!("{token}\n")).map_err(|e| Failure::local(args.file.display(), e))?;
    output::line(&Tokens::line(&args.name, token.as_bytes()));
    Ok(())
}
