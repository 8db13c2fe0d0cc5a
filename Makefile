# Verbs only: the work is in scripts/. More arguments for a script: make test ARGS='-k steering'.
.DEFAULT_GOAL := help
.PHONY: lab-up lab-down lab-status test test-slow check bench setup clean help
ARGS ?=

lab-up:     ; @scripts/lab up $(ARGS)       ## Install what is missing, then build the lab and start everything in it (root)
lab-down:   ; @scripts/lab down $(ARGS)     ## Stop the lab and remove every trace of it (root)
lab-status: ; @scripts/lab status $(ARGS)   ## Say what of the lab runs (root)
test:       ; @scripts/test $(ARGS)         ## The tests, the ones on real namespaces included (root)
test-slow:  ; @scripts/test --slow $(ARGS)  ## A hundred kills, a million mutated packets: long repetitions (root)
check:      ; @scripts/check $(ARGS)        ## Lint, format, types and the rules of the house
bench:      ; @scripts/bench $(ARGS)        ## Measure beside plain routing, nftables NAT and HAProxy (root)
setup:      ; @scripts/provision $(ARGS)    ## Install everything that lab, tests and benchmark need
clean:      ; @scripts/clean $(ARGS)        ## Remove .venv, caches and the installed command
help:       ; @scripts/help                 ## This list
