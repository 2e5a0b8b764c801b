//! Starts, faults and watches the real binaries.
