//! Signing in and out, the own account, users and invitations.
