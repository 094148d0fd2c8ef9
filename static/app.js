// pgflex
