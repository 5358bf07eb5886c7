package agent

// A section lists the fields of one mapping of agentkit.yaml and says of each
// why it has no effect here. The empty reason is for those that have one.
type section map[string]string

const (
	noImage  = "image, or deputy launch --registry, says which image an agent has on Kubernetes; processes have none"
	inImage  = "it is about the image of an agent on Kubernetes (docs/kubernetes.md); processes have none"
	noCloud  = "Deputy runs agents on this machine, not at a cloud provider"
	byTool   = "the agentkit command wrote it about a deployment of its own"
	ourPort  = "the runtime chooses the port; the agent is reached through the ingress"
	noLimits = "the process driver limits neither memory nor processor time"
)

// The fields are those of agentkit 0.5 (the kit's config.py, strategy_configs.py
// and docker_build_config.py). A field that is not in these tables is an error:
// in a file that decides who is let in, a typing mistake must not be an open door.

func commonFields() section {
	return section{
		"agent_name": "", "entry_point": "", "description": "", "language": "", "language_version": "",
		"agent_type": "", "dependencies_file": "", "runtime_envs": "", "launch_type": "",
		"cloud_provider": noCloud,
	}
}

// inboundFields are those that every launch block shares. In the original the
// local block has no authentication; here no agent is without.
func inboundFields() section {
	return section{
		"runtime_envs": "", "runtime_auth_type": "", "runtime_jwt_discovery_url": "", "runtime_jwt_allowed_clients": "",
		// Ours:
		"runtime_jwt_allowed_audiences": "", "runtime_jwt_required_scopes": "", "runtime_jwt_required_claims": "", "runtime_session_client": "", "runtime_paths": "", "runtime_idle_timeout": "",
		"image": inImage, "runtime_health_path": inImage,
	}
}

func localFields() section {
	s := inboundFields()
	for field, reason := range (section{
		"image_tag": noImage, "invoke_port": ourPort, "container_name": noImage, "ports": ourPort,
		"volumes": "the agent is a process and sees this machine's files", "restart_policy": "the runtime restarts the agent with backoff",
		"memory_limit": noLimits, "cpu_limit": noLimits,
		"container_id": byTool, "image_id": byTool, "build_timestamp": byTool, "deploy_timestamp": byTool, "full_image_name": byTool,
	}) {
		s[field] = reason
	}
	return s
}

func hybridFields() section {
	s := inboundFields()
	for field, reason := range (section{
		"image_tag": noImage, "image_id": byTool, "build_timestamp": byTool, "deploy_timestamp": byTool, "full_image_name": byTool,
		"region": noCloud, "ve_region": noCloud, "region_overrides": noCloud,
		"cr_instance_name": noImage, "cr_namespace_name": noImage, "cr_repo_name": noImage,
		"ve_cr_instance_name": noImage, "ve_cr_namespace_name": noImage, "ve_cr_repo_name": noImage,
		"cr_auto_create_instance_type": noImage, "cr_image_full_url": byTool,
		"runtime_id": byTool, "ve_runtime_id": byTool,
		"runtime_name": "the agent is called common.agent_name", "ve_runtime_name": "the agent is called common.agent_name",
		"runtime_role_name":   "an agent gets a workload identity here, not a cloud role",
		"runtime_apikey_name": "an agent has as many keys as it needs, each with a name: deputy agent-key create",
		"runtime_apikey":      "this file holds a key in clear text, which Deputy does not use: remove it here and revoke it there; deputy agent-key create makes one",
		"runtime_endpoint":    byTool,
		"runtime_bindings":    "Deputy has no memory, knowledge, tool or MCP tool sets to bind",
		"runtime_network":     noCloud,
	}) {
		s[field] = reason
	}
	return s
}

func cloudFields() section {
	s := hybridFields()
	for field, reason := range (section{
		"tos_bucket": noCloud, "tos_prefix": noCloud, "tos_object_key": byTool, "tos_object_url": byTool,
		"build_timeout":     "the runtime has its own bound for builds",
		"cp_workspace_name": noCloud, "cp_pipeline_name": noCloud, "cp_pipeline_id": noCloud,
	}) {
		s[field] = reason
	}
	return s
}

func dockerFields() section {
	return section{"base_image": inImage, "build_script": "entry_point may be a script that builds", "regenerate_dockerfile": "there is no Dockerfile", "platform": inImage}
}
