"""Run recipes: the command line, the plan, the graph, the runner, the history."""
