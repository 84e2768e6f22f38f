//! Test support: a server on port 0, a scripted model server, kill loop, load driver
