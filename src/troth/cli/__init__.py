"""What a person types: argv, output, exit codes; one file per noun, each loaded only when it is called."""
