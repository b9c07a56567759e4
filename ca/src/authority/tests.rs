mod folder;
mod judges;
mod leaves;
