"""How much room there is: limits, what was measured, and the gate's decision."""
