"""The theory of coupling, computed: every claim that the papers GC and RM print, and its verdict.

Takes probabilities, risks, group sizes and pushes; gives exact numbers, verdicts and figure data.
A result is one file, which enumerates groups or follows softmax steps in float64, and the claims
that it checks stand in a registry, so that each can be computed again alone.

May import `credit`, whose own functions give the advantages of simulated groups, and what
`coupling` may import. Another claim is one function that returns its numbers and one line of the
registry.
"""
