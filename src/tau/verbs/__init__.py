"""What a graph does with runs: one file for each group of verbs, which `StateGraph` puts together."""
