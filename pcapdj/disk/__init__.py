"""Inside the controller: the limits, the measurements of disks and memory, the decision of the gate."""
