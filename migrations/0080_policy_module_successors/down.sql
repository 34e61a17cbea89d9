DROP TABLE policy_module_successors;
