//! RFC 7016 appendix A.
