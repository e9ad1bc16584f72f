//! `rtmfp serve`

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use rtmfp_core::{App as _, EndpointConfig, Event, Instant, Router, SessionHandle};
use rtmfp_std::{Driver, system_rng};

use super::{announce, conclude};
