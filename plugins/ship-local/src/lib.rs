//! Ships to a directory of a local or mounted file system.
