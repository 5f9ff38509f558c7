//! The broker process: server, transport and composition root.
