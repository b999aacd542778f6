//! Decodes every archive with pg_restore as it passes, and looks for a script's completion mark.
