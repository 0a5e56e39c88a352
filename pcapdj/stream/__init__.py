"""How bytes reach the analyzer: pipe, keeper, launcher protocol, analyzer process and presets."""
